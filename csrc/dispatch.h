// Which table of kernels is in use.
#pragma once
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace lamina {

std::vector<std::string> available_isas();  // built and supported here, least first
const KernelTable& active();                // the best, or what LAMINA_ISA or select_isa named
void select_isa(const std::string& name);   // throws std::invalid_argument if unknown or unsupported

template <class T>
const Kernels<T>& kernels();

double measure_peak(bool float64, double seconds);  // GFLOP/s of multiply-adds on all threads
double measure_bandwidth(double seconds);           // GB/s of reads on all threads

}  // namespace lamina

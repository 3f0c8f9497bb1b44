#include "kernels/simt/example_kernels.h"

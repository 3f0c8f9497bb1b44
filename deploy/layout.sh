#!/usr/bin/env bash
# Lays the server out under a folder as it is installed: layout.sh BINARIES FOLDER
#
# BINARIES is Bazel's output (bazel-bin). FOLDER becomes the root: usr/lib/millrace holds the programs,
# usr/bin the command, the unit and its users stand where systemd looks, etc/millrace a configuration.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binaries=$1
root=$2
programs=$root/usr/lib/millrace

put() { # MODE FILE... DESTINATION
  install -D -m "$1" "$2" "$3"
}

for stage in keeper supervisor registry ingress features execution aggregation observer; do
  put 755 "$binaries/services/$stage/$stage" "$programs/$stage/$stage"
done
put 755 "$binaries/kernels/compile/compiler" "$programs/registry/compiler"
put 755 "$binaries/tools/millrace/millrace" "$programs/millrace"
mkdir -p "$root/usr/bin"
ln -sfn ../lib/millrace/millrace "$root/usr/bin/millrace"
# The device's plug-in, where it was built.
if [[ -e $binaries/kernels/cuda/libmillrace_cuda.so ]]; then
  put 755 "$binaries/kernels/cuda/libmillrace_cuda.so" "$programs/execution/libmillrace_cuda.so"
fi
put 755 "$binaries/ipc/client/libmillrace_client.so" "$root/usr/lib/libmillrace_client.so"
put 644 "$here/systemd/millrace.service" "$root/usr/lib/systemd/system/millrace.service"
put 644 "$here/systemd/uid-per-stage.conf" "$root/usr/share/doc/millrace/uid-per-stage.conf"
put 644 "$here/systemd/millrace.sysusers" "$root/usr/lib/sysusers.d/millrace.conf"
put 644 "$here/systemd/millrace.yaml" "$root/etc/millrace/millrace.yaml"
put 644 "$here/container/container.yaml" "$root/usr/share/millrace/container.yaml"

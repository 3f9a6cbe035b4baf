#!/bin/busybox sh
# The first process of the guest: makes the devices it grants pages with, and runs the guest's program when it is wanted.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/tmp NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
# A kernel that has them built in has no such modules.
for module in xen-evtchn xen-gntalloc; do
  if [ -e /modules/$module.ko ]; then insmod /modules/$module.ko; fi
done
# Node takes the one processor for seconds: it waits until dom0 has something to ask.
while [ "$(devmem "$wanted_address" 32)" != "$wanted" ]; do sleep 1; done
cd /xmc
node dist/guest/main.js </dev/null
echo "the guest's program ended with $?"
poweroff -f

#!/bin/busybox sh
# The first process of dom0: makes Xen's devices, runs the program of this boot, and powers the machine off.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/tmp NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
# A kernel that has them built in has no such modules.
for module in xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs; do
  if [ -e /modules/$module.ko ]; then insmod /modules/$module.ko; fi
done
mount -t xenfs xenfs /proc/xen
echo '@xmc-rig {"event":"started"}'
cd /xmc
sh ./program.sh </dev/null
code=$?
echo "@xmc-rig {\"event\":\"exit\",\"code\":$code}"
poweroff -f

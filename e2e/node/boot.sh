# boot.sh starts a machine. It runs as the first process of new mount, network, process, host name, IPC and cgroup namespaces; when it ends,
# the kernel ends every other process there, and the mounts and the network go with them. What the machine wrote stays in its disk.
#
#     boot.sh DIR NAME ADDRESS GATEWAY
set -eu
dir=$1 name=$2 address=$3 gateway=$4
root=$dir/root disk=$dir/disk
hostname "$name"

# The machine's files are those of this one, and what it changes is on its disk. The folders with file systems in them are on the disk
# directly, and etcd has a disk to itself.
mount --make-rprivate /
mount -o loop "$dir/disk.img" "$disk"
mkdir -p "$disk/upper" "$disk/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$root"
for folder in var/lib/containerd var/lib/kubelet; do
  mkdir -p "$disk/$folder" "$root/$folder"
  mount --bind "$disk/$folder" "$root/$folder"
done
mkdir -p "$root/var/lib/etcd"
mount -o loop "$dir/etcd.img" "$root/var/lib/etcd"
if [ ! -e "$disk/seeded" ]; then
  cp -a "$dir/seed/." "$root/"
  touch "$disk/seeded"
fi
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"

# In this cgroup namespace each hierarchy begins at the machine's own group.
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
for hierarchy in blkio cpu cpuacct cpuset devices freezer memory pids; do
  mkdir "$root/sys/fs/cgroup/$hierarchy"
  mount -t cgroup -o "$hierarchy" cgroup "$root/sys/fs/cgroup/$hierarchy"
done
mkdir "$root/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"

mkdir -p "$root/.before"
cd "$root"
pivot_root . .before
umount -l /.before
mount --make-rshared /

ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
ip route add default via "$gateway"

respawn() {
  while :; do
    "$@" >>"/var/log/$1.log" 2>&1 || true
    sleep 1
  done
}
respawn containerd &
respawn start-kubelet &
# This shell takes over the processes whose parents have ended, and collects them.
wait

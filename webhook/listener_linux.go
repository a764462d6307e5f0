package webhook

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// shareAddress is called before the address is bound. All sockets of an address need the option and the same effective user
// (socket(7), SO_REUSEPORT).
func shareAddress(_, _ string, socket syscall.RawConn) error {
	return control(socket, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
}

// ignoreNew drops every packet that begins a connection, and lets those of handshakes under way pass.
func (l *listener) ignoreNew() error {
	const flags, syn, everything = 13, 0x02, 0xffff // the offset of the flags in a TCP header, and the flag
	program := [...]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: everything},
	}
	socket, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return control(socket, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
}

// hasWaiting says whether a connection waits in the queue.
func (l *listener) hasWaiting() bool {
	socket, err := l.SyscallConn()
	if err != nil {
		return false
	}
	waiting := 0
	err = control(socket, func(fd int) (err error) {
		waiting, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // descriptors are small
		return err
	})
	return err == nil && waiting > 0
}

// control does something with the number of a socket.
func control(socket syscall.RawConn, do func(fd int) error) error {
	var err error
	return errors.Join(socket.Control(func(fd uintptr) { err = do(int(fd)) }), err)
}

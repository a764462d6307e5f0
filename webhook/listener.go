package webhook

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// settle is how long a listener that closes goes on accepting. Handshakes that have begun are over by then, because API servers
// are on this machine or near it.
const settle = 20 * time.Millisecond

// listener can be closed without breaking the connections that wait in its queue. The kernel would reset these: it passes none
// of them on to another process with the same address, unless net.ipv4.tcp_migrate_req is set.
type listener struct {
	*net.TCPListener
	retired atomic.Bool
}

// listen shares the address, if asked, with other processes of the same user that do so, too.
func listen(address string, share bool) (*listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // its sockets take no filter, see ignoreNew
	if share {
		config.Control = shareAddress
	}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &listener{TCPListener: l.(*net.TCPListener)}, nil
}

// retire has Accept empty the queue and close the listener. From now on the kernel ignores who wants to connect: the client's
// kernel asks again after a second, and then reaches the process that still listens.
func (l *listener) retire() {
	// If it fails, connections are refused that arrive in the microseconds between the last look at the queue and the end.
	_ = l.ignoreNew()
	l.retired.Store(true)
	_ = l.SetDeadline(time.Now().Add(settle)) // fails only if it is closed
}

// Accept returns net.ErrClosed after retire, once it has returned every connection that waited.
func (l *listener) Accept() (net.Conn, error) {
	for {
		connection, err := l.TCPListener.Accept()
		if !l.retired.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return connection, err
		}
		// A busy machine may not have let this goroutine run before the deadline.
		if !l.hasWaiting() {
			return nil, errors.Join(net.ErrClosed, l.Close())
		}
		if err := l.SetDeadline(time.Now().Add(settle)); err != nil {
			return nil, err
		}
	}
}

package webhook

import (
	"errors"
	"net"
	"strings"
	"testing"
)

// What waits in the queue of a listener that closes is accepted, and who comes later reaches the other one.
func TestListener_RetireBreaksNoConnection(t *testing.T) {
	leaving := mustListen(t, "127.0.0.1:0")
	waiting := dial(t, leaving, 8)
	staying := mustListen(t, leaving.Addr().String())
	leaving.retire()
	accepted := make(chan int)
	go func() { accepted <- acceptAll(leaving) }()
	later := dial(t, staying, 8)
	if got := <-accepted; got != len(waiting) {
		t.Errorf("the leaving listener accepted %d connections, want the %d that waited", got, len(waiting))
	}
	staying.retire()
	if got := acceptAll(staying); got != len(later) {
		t.Errorf("the other listener accepted %d connections, want all %d later ones", got, len(later))
	}
}

// Without the setting on both sides an address cannot be shared.
func TestNewServer_ReusePortOnOneSideOnly(t *testing.T) {
	rows := []struct {
		name          string
		first, second bool
	}{
		{name: "the first", first: true},
		{name: "the second", second: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			l, err := listen("127.0.0.1:0", row.first)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, err = NewServer(Options{Address: l.Addr().String(), HealthAddress: "127.0.0.1:0", ReusePort: row.second})
			if err == nil || strings.Contains(err.Error(), "serving.reusePort") != row.second {
				t.Errorf("got %v", err)
			}
		})
	}
}

func mustListen(t *testing.T, address string) *listener {
	t.Helper()
	l, err := listen(address, true)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, l *listener, number int) (open []net.Conn) {
	t.Helper()
	for range number {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		open = append(open, c)
	}
	return open
}

// acceptAll accepts until the listener is closed.
func acceptAll(l *listener) (accepted int) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return accepted
		}
		accepted++
		c.Close()
	}
}

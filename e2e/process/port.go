package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are handed out below the range that kernels take for outgoing connections (32768 and up on Linux): a port from
// that range may be taken between the choice and the listener, or while a server that uses it restarts.
const (
	firstPort    = 20000
	lastPort     = 32000
	portAttempts = 200
)

// Ports hands out free loopback TCP ports, none of them twice.
type Ports struct {
	mu    sync.Mutex
	given map[int]bool // at most one entry per port of the range
}

// Free is a loopback port that no process listens on.
func (p *Ports) Free() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = make(map[int]bool)
	}
	for range portAttempts {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if p.given[port] {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("give port %d back: %w", port, err)
		}
		p.given[port] = true
		return port, nil
	}
	return 0, errors.New("find a free loopback port: none found")
}

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
// that range may be taken between the choice and the listener, or while a server that uses it restarts. For the same reason
// each process that hands out ports has a block to itself, and listens on the block's first port as long as it lives.
const (
	firstPort  = 20000
	portBlocks = 40
	blockSize  = 300
)

// FreeAddress is a loopback address with a TCP port that no process listens on. It is given only once.
func FreeAddress() (string, error) {
	block, err := ownBlock()
	if err != nil {
		return "", err
	}
	return block.free()
}

var ownBlock = sync.OnceValues(func() (*portBlock, error) { return takeBlock(rand.Perm(portBlocks)) })

// takeBlock takes the first of the numbered blocks that no process has.
func takeBlock(numbers []int) (*portBlock, error) {
	for _, i := range numbers {
		first := firstPort + i*blockSize
		if listener, err := net.Listen("tcp", loopback(first)); err == nil {
			return &portBlock{claim: listener, next: first + 1, last: first + blockSize - 1}, nil
		}
	}
	return nil, errors.New("find a free block of loopback ports: none found")
}

// portBlock is a range of ports that no other process is given.
type portBlock struct {
	claim net.Listener // keeps others away until the process ends

	mu         sync.Mutex
	next, last int
}

func (b *portBlock) free() (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.next <= b.last {
		address := loopback(b.next)
		b.next++
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue // of a program that does not know of the blocks
		}
		if err := listener.Close(); err != nil {
			return "", fmt.Errorf("give the port of %s back: %w", address, err)
		}
		return address, nil
	}
	return "", fmt.Errorf("find a free loopback port: all %d of this process were given", blockSize-1)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

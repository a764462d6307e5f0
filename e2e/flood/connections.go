package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	idleCount       = 2000
	slowCount       = 500 // of each kind
	opensPerSecond  = 200
	resetting       = 8 // connections, which reset so many streams in a row, with so long a pause
	resetsAtOnce    = 100
	resetPause      = 80 * time.Millisecond
	connectionLimit = 5 * time.Second // for a handshake
)

// dial opens a connection that speaks a protocol, with the API server's certificate: without one it would end at once.
func (in *installation) dial(ctx context.Context, protocol string) (net.Conn, error) {
	configuration, err := in.clientTLS()
	if err != nil {
		return nil, err
	}
	configuration.NextProtos = []string{protocol}
	ctx, cancel := context.WithTimeout(ctx, connectionLimit)
	defer cancel()
	return (&tls.Dialer{Config: configuration}).DialContext(ctx, "tcp", in.address)
}

func idleConnections(ctx context.Context, in *installation) string {
	var opened atomic.Int64
	pacedUpTo(ctx, idleCount, opensPerSecond*in.scale, idleCount, func(i int) {
		protocol := []string{"h2", "http/1.1"}[i%2]
		c, err := in.dial(ctx, protocol)
		if err != nil {
			return
		}
		defer c.Close()
		opened.Add(1)
		<-ctx.Done()
	})
	return fmt.Sprintf("%d idle connections", opened.Load())
}

// slowRequests sends headers and bodies a byte a second, and begins again whenever jobgate hangs up.
func slowRequests(ctx context.Context, in *installation) string {
	const head = "POST /authorize HTTP/1.1\r\nHost: jobgate\r\nContent-Type: application/json\r\n"
	var begun, ended atomic.Int64
	var all sync.WaitGroup
	for i := range 2 * slowCount {
		begin := head + "X-Slow: "
		if i%2 == 1 {
			begin = head + "Content-Length: 10000\r\n\r\n"
		}
		all.Go(func() {
			pause(ctx, time.Duration(i)*5*time.Millisecond)
			for ctx.Err() == nil {
				begun.Add(1)
				in.dribble(ctx, begin)
				ended.Add(1)
				pause(ctx, time.Second)
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("%d slow requests, of which jobgate ended %d", begun.Load(), ended.Load())
}

// dribble returns once jobgate has hung up.
func (in *installation) dribble(ctx context.Context, begin string) {
	c, err := in.dial(ctx, "http/1.1")
	if err != nil {
		return
	}
	defer c.Close()
	hungUp := context.AfterFunc(ctx, func() { c.Close() })
	defer hungUp()
	if _, err := c.Write([]byte(begin)); err != nil {
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = c.Read(make([]byte, 1))
	}()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-gone:
			return
		case <-ticker.C:
			if _, err := c.Write([]byte("a")); err != nil {
				return
			}
		}
	}
}

// rapidReset opens streams and resets them at once, and opens a new connection whenever jobgate ends one.
func rapidReset(ctx context.Context, in *installation) string {
	var streams, connections atomic.Int64
	var all sync.WaitGroup
	for range resetting {
		all.Go(func() {
			for ctx.Err() == nil {
				connections.Add(1)
				streams.Add(in.resetStreams(ctx))
				pause(ctx, 100*time.Millisecond)
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("%d streams opened and reset, over %d connections", streams.Load(), connections.Load())
}

// resetStreams returns, with the number of its streams, once jobgate has ended the connection.
func (in *installation) resetStreams(ctx context.Context) (streams int64) {
	c, err := in.dial(ctx, "h2")
	if err != nil {
		return 0
	}
	defer c.Close()
	ended := context.AfterFunc(ctx, func() { c.Close() })
	defer ended()
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		return 0
	}
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		return 0
	}
	go func() { // what jobgate sends is read and dropped
		for {
			if _, err := framer.ReadFrame(); err != nil {
				return
			}
		}
	}()
	header := requestHeader()
	for id := uint32(1); id < 1<<30; id += 2 {
		err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header, EndHeaders: true})
		if err != nil {
			return streams
		}
		if err := framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			return streams
		}
		streams++
		if streams%resetsAtOnce == 0 && endedIn(ctx, time.Duration(float64(resetPause)/in.scale)) {
			return streams
		}
	}
	return streams
}

// endedIn pauses, and says whether the context ended meanwhile.
func endedIn(ctx context.Context, d time.Duration) bool {
	pause(ctx, d)
	return ctx.Err() != nil
}

// requestHeader is that of an authorization, encoded without the table of the connection.
func requestHeader() []byte {
	var block headerBlock
	encoder := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "jobgate"},
		{Name: ":path", Value: "/authorize"}, {Name: "content-type", Value: "application/json"},
	} {
		f.Sensitive = true // such a field never enters the table, so that the block can be sent again
		if err := encoder.WriteField(f); err != nil {
			return nil
		}
	}
	return block
}

type headerBlock []byte

func (b *headerBlock) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

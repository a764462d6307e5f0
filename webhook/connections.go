package webhook

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Trust decides whose connections stay open. TLS looks at a client's certificate only when a connection begins.
type Trust interface {
	// Trusts says whether the client of a connection may still ask. It does not block.
	Trusts(tls.ConnectionState) bool
	// OnTrustChange sets what is called each time after Trusts may have begun to answer differently.
	OnTrustChange(func())
}

// connections are those whose TLS handshake is over. One whose client is not trusted is closed, whatever it is doing.
type connections struct {
	trust Trust
	open  sync.Map // of *tls.Conn
}

// note is called by the HTTP server with each change of a connection's state, for HTTP/1.1 and HTTP/2.
func (c *connections) note(connection net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew: // its handshake is still to come
	case http.StateClosed, http.StateHijacked:
		c.open.Delete(connection)
	default:
		// The trust may have changed since the handshake, so a new one is checked once it is among those to check again.
		if _, known := c.open.LoadOrStore(connection, nil); !known {
			c.check(connection)
		}
	}
}

// checkAll is called after the trust has changed.
func (c *connections) checkAll() {
	c.open.Range(func(connection, _ any) bool {
		c.check(connection.(net.Conn))
		return true
	})
}

func (c *connections) check(connection net.Conn) {
	secured, ok := connection.(*tls.Conn)
	if !ok {
		return
	}
	state := secured.ConnectionState()
	if c.trust.Trusts(state) {
		return
	}
	client := ""
	if len(state.PeerCertificates) > 0 {
		client = state.PeerCertificates[0].Subject.String()
	}
	klog.InfoS("Connection closed: the client CA has changed and does not vouch for its certificate",
		"client", client, "address", connection.RemoteAddr().String())
	// tls.Conn's own Close would first wait until what is being written has been taken.
	_ = secured.NetConn().Close()
}

// arriving are the connections whose handshake, of TLS and of HTTP/2, is not over.
type arriving struct {
	known sync.Map // of net.Conn
	count sync.WaitGroup
}

// note is called by the HTTP server with each change of a connection's state.
func (a *arriving) note(connection net.Conn, state http.ConnState) {
	if state == http.StateNew {
		a.known.Store(connection, nil)
		a.count.Add(1)
		return
	}
	if _, was := a.known.LoadAndDelete(connection); was {
		a.count.Done()
	}
}

// wait returns when all have arrived, or failed, or when the time is over. No new ones may come.
func (a *arriving) wait(limit time.Duration) {
	all := make(chan struct{})
	go func() {
		a.count.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-time.After(limit):
	}
}

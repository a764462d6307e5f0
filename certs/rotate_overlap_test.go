package certs_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/certs"
)

// The writes of a rotation, in their order.
var rotationWrites = []string{
	certs.NextSigningFile, certs.CAFile,
	certs.ServingFile, certs.ClientFile, certs.SigningFile, certs.NextSigningFile,
	certs.CAFile,
}

// history is what a PKI has said, and since when.
type history []moment

type moment struct {
	since time.Time
	snapshot
}

func (h *history) note(t *testing.T, p *certs.PKI) {
	t.Helper()
	*h = append(*h, moment{time.Now(), snap(t, p)})
}

// window are the snapshots that a process may have loaded that is at most that late.
func (h history) window(late time.Duration) history {
	from := time.Now().Add(-late)
	for i := len(h) - 1; i > 0; i-- {
		// What was replaced exactly then may no longer be in use.
		if !h[i].since.After(from) {
			return h[i:]
		}
	}
	return h
}

// peers checks connections, and remembers the result for the same contents.
type peers map[string]error

// connect lets an API server and a jobgate connect that have loaded each of their files at any moment of the window.
func (p peers) connect(t *testing.T, window history) {
	t.Helper()
	for _, trust := range window {
		for _, serving := range window {
			for _, client := range window {
				for _, clientCA := range window {
					contents := fmt.Sprint(trust.snapshot[certs.CAFile], serving.snapshot[certs.ServingFile],
						client.snapshot[certs.ClientFile], clientCA.snapshot[certs.CAFile])
					if _, known := p[contents]; !known {
						p[contents] = handshake(t,
							end{client.pair(t, certs.ClientFile), trust.bundle(t)},
							end{serving.pair(t, certs.ServingFile), clientCA.bundle(t)})
					}
					if err := p[contents]; err != nil {
						t.Fatalf("now is %s: API server with ca.crt of %s and client.pem of %s, jobgate with ca.crt of %s and serving.pem of %s: %v",
							time.Now(), trust.since, client.since, clientCA.since, serving.since, err)
					}
				}
			}
		}
	}
}

func TestRotateCA_NoOneIsRefusedWithinTheOverlapWhereverItIsKilled(t *testing.T) {
	t.Parallel()
	const overlap = 24 * time.Hour
	t.Run("not killed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { rotateWithPause(t, overlap, 0, 0) })
	})
	for killed := range rotationWrites {
		for _, pause := range []time.Duration{overlap / 2, overlap, 5 * overlap} {
			t.Run(fmt.Sprintf("killed after write %d for %s", killed+1, pause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { rotateWithPause(t, overlap, killed, pause) })
			})
		}
	}
}

// rotateWithPause rotates, a write at a time, with a pause after one of them.
func rotateWithPause(t *testing.T, overlap time.Duration, killed int, pause time.Duration) {
	p := issued(t, certs.Request{})
	connections, h := peers{}, history{}
	h.note(t, p)
	time.Sleep(2 * overlap) // by now every process has what there is
	started := overlap
	start, writes := &started, 0
	for quiet := time.Duration(0); quiet < 3*overlap; {
		file := must[string](t)(p.StepRotation(start))
		start = nil
		if file == "" {
			time.Sleep(overlap / 8)
			quiet += overlap / 8
			connections.connect(t, h.window(overlap))
			continue
		}
		if writes < len(rotationWrites) && file != rotationWrites[writes] {
			t.Fatalf("write %d was to %s", writes+1, file)
		}
		h.note(t, p)
		connections.connect(t, h.window(overlap))
		if writes == killed {
			time.Sleep(pause)
			connections.connect(t, h.window(overlap))
		}
		writes++
		quiet = 0
	}
	if writes != len(rotationWrites) {
		t.Errorf("%d writes", writes)
	}
	checkReplaced(t, h[0].snapshot, h[len(h)-1].snapshot)
}

// checkReplaced fails unless nothing of the old CA is left, and neither end accepts what it signed.
func checkReplaced(t *testing.T, before, after snapshot) {
	t.Helper()
	if len(after) != 4 || len(after.bundle(t)) != 1 || !after.bundle(t)[0].Equal(after.leaf(t, certs.SigningFile)) {
		t.Errorf("left at the end: %d files, %d CAs", len(after), len(after.bundle(t)))
	}
	oldAPIServer, oldJobgate := before.bothEnds(t)
	apiServer, jobgate := after.bothEnds(t)
	apiServer.certificate, jobgate.certificate = oldAPIServer.certificate, oldJobgate.certificate
	newAPIServer, newJobgate := after.bothEnds(t)
	if handshake(t, apiServer, newJobgate) == nil {
		t.Error("jobgate accepts a client certificate of the old CA")
	}
	if handshake(t, newAPIServer, jobgate) == nil {
		t.Error("the API server accepts a serving certificate of the old CA")
	}
}

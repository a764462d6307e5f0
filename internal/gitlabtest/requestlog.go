package gitlabtest

import (
	"net/http"
	"sync"
)

// maxLogged is how many requests are remembered; the counters go on.
const maxLogged = 10_000

// requestLog remembers the latest requests and counts all.
type requestLog struct {
	mu     sync.Mutex
	counts map[string]int // by endpoint, AnyEndpoint for all
	ring   []Request
	next   int // where the ring is written once it is full
}

func (l *requestLog) add(endpoint string, r *http.Request) {
	seen := Request{Endpoint: endpoint, Method: r.Method, URI: r.RequestURI, Header: r.Header.Clone()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[string]int{}
	}
	l.counts[endpoint]++
	l.counts[AnyEndpoint]++
	if len(l.ring) < maxLogged {
		l.ring = append(l.ring, seen)
		return
	}
	l.ring[l.next] = seen
	l.next = (l.next + 1) % maxLogged
}

func (l *requestLog) count(endpoint string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[endpoint]
}

// requests are those of the endpoint among the latest maxLogged of all, oldest first.
func (l *requestLog) requests(endpoint string) []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []Request{}
	for i := range l.ring {
		r := l.ring[(l.next+i)%len(l.ring)]
		if endpoint == AnyEndpoint || endpoint == r.Endpoint {
			r.Header = http.Header(r.Header).Clone()
			found = append(found, r)
		}
	}
	return found
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts, l.ring, l.next = nil, nil, 0
}

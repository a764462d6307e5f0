package gitlabtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// eachProtocol runs a test over HTTP/1.1 and over HTTP/2, which end their connections differently.
func eachProtocol(t *testing.T, test func(*testing.T, *gitlab)) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP 1.1", true: "HTTP 2"}[secure], func(t *testing.T) {
			g := start(t, gitlabtest.Options{Instance: example(openToProject), TLS: secure})
			if secure {
				g = trusting(t, g.Server)
			}
			if got := g.getAs(job, lookup); got.ProtoMajor != map[bool]int{false: 1, true: 2}[secure] {
				t.Fatalf("protocol %s", got.Proto)
			}
			test(t, g)
		})
	}
}

func TestFaultTruncate_AnnouncesTheWholeAndSendsHalf(t *testing.T) {
	eachProtocol(t, func(t *testing.T, g *gitlab) {
		whole := g.getAs(job, lookup).body
		g.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Truncate: true, Calls: 1})
		response, err := g.client.Do(g.request(http.MethodGet, lookup, "JOB-TOKEN", g.token(job)))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.ContentLength != int64(len(whole)) {
			t.Errorf("length %d, want %d", response.ContentLength, len(whole))
		}
		half, err := io.ReadAll(response.Body)
		if err == nil || string(half) != whole[:len(whole)/2] {
			t.Errorf("read %d of %d bytes with error %v", len(half), len(whole), err)
		}
		if got := g.getAs(job, lookup); got.body != whole {
			t.Errorf("the next answer: %s", got.body)
		}
	})
}

func TestFaultOversize_PadsTheAnswer(t *testing.T) {
	const size = 3 << 20
	g := startInstance(t, example(openToProject))
	whole := g.getAs(job, lookup).body
	g.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Oversize: size})
	got := g.getAs(job, lookup)
	if len(got.body) != size || strings.TrimRight(got.body, " ") != whole {
		t.Errorf("%d bytes", len(got.body))
	}
	if !json.Valid([]byte(got.body)) {
		t.Error("the padded answer is no JSON")
	}
}

func TestFaultReset_EndsTheConnectionWithoutAnAnswer(t *testing.T) {
	eachProtocol(t, func(t *testing.T, g *gitlab) {
		token := g.token(job)
		g.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Reset: true, Calls: 1})
		r := g.request(http.MethodGet, lookup, "JOB-TOKEN", token)
		r.Body = struct{ io.ReadCloser }{http.NoBody} // so that net/http does not send it twice
		r.ContentLength = -1
		response, err := g.client.Do(r)
		if err == nil {
			response.Body.Close()
			t.Fatalf("answered %s", response.Status)
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("error %v", err)
		}
		if got := g.get(lookup, "JOB-TOKEN", token); got.StatusCode != http.StatusOK {
			t.Errorf("the next answer: %d", got.StatusCode)
		}
	})
}

func TestFaultHang_EndsWithTheClientOrTheServer(t *testing.T) {
	eachProtocol(t, func(t *testing.T, g *gitlab) {
		g.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		outcome := make(chan error, 1)
		ask := func(ctx context.Context) {
			r := g.request(http.MethodGet, lookup, "JOB-TOKEN", g.token(job)).WithContext(ctx)
			response, err := g.client.Do(r)
			if err == nil {
				response.Body.Close()
			}
			outcome <- err
		}
		g.ResetCalls()
		go ask(ctx)
		awaitCalls(t, g, 1)
		cancel()
		if err := <-outcome; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}

		go ask(t.Context())
		awaitCalls(t, g, 2)
		g.Close() // returns only when the hanging call has ended
		if err := <-outcome; err == nil {
			t.Error("answered after all")
		}
	})
}

func TestFaultDelay_EndsWithTheServer(t *testing.T) {
	g := startInstance(t, example(openToProject))
	g.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Delay: time.Hour})
	outcome := make(chan error, 1)
	go func() {
		response, err := g.client.Do(g.request(http.MethodGet, lookup, "JOB-TOKEN", g.token(job)))
		if err == nil {
			response.Body.Close()
		}
		outcome <- err
	}()
	awaitCalls(t, g, 1)
	g.Close()
	if err := <-outcome; err == nil {
		t.Error("answered after all")
	}
}

// awaitCalls returns once that many lookups have arrived.
func awaitCalls(t *testing.T, g *gitlab, calls int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for g.Calls(gitlabtest.AllowedAgents) < calls {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the call has not arrived")
		}
	}
}

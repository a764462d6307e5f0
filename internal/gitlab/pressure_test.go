package gitlab_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestAllowedAgents_InFlightBoundHolds(t *testing.T) {
	const bound, lookups = 4, 40
	var mu sync.Mutex
	open, most := 0, 0
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		open++
		most = max(most, open)
		mu.Unlock()
		<-time.After(5 * time.Millisecond)
		mu.Lock()
		open--
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message":"401 Unauthorized"}`)
	}))
	defer slow.Close()
	c := newClient(t, slow.URL, func(o *gitlab.Options) { o.MaxInFlight = bound })
	var all sync.WaitGroup
	for i := range lookups {
		urgency := gitlab.Urgency(i % 2) // logins and refreshes compete
		all.Go(func() {
			var rejected *gitlab.RejectedError
			if _, err := c.AllowedAgents(t.Context(), "token", urgency); !errors.As(err, &rejected) {
				t.Errorf("error is %v, want a rejection", err)
			}
		})
	}
	all.Wait()
	if most != bound {
		t.Errorf("%d requests were open at once, want %d", most, bound)
	}
}

func TestAllowedAgents_QueueBeyondTheTimeoutIsRefusedAtOnce(t *testing.T) {
	s, token := server(t)
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.RequestsPerSecond, o.Burst = 0.01, 1 })
	if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
		t.Fatal(err)
	}
	_, err := c.AllowedAgents(t.Context(), token, gitlab.Login)
	var unavailable *gitlab.UnavailableError
	if !errors.Is(err, gitlab.ErrNoPlace) || !errors.As(err, &unavailable) {
		t.Fatalf("error is %v, want no place", err)
	}
	if got := s.Calls(gitlabtest.AllowedAgents); got != 1 {
		t.Errorf("GitLab was asked %d times, want once", got)
	}
}

func TestAllowedAgents_BreakerSparesGitLabAndLetsItBack(t *testing.T) {
	s, token := server(t)
	c := newClient(t, s.URL(), nil)
	s.Fault(gitlabtest.Unavailable())
	for range 2 {
		if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); err == nil {
			t.Fatal("no error")
		}
	}
	calls := s.Calls(gitlabtest.AllowedAgents)
	_, err := c.AllowedAgents(t.Context(), token, gitlab.Login)
	if !errors.Is(err, gitlab.ErrCircuitOpen) {
		t.Fatalf("error is %v, want an open circuit", err)
	}
	if got := s.Calls(gitlabtest.AllowedAgents); got != calls {
		t.Errorf("GitLab was asked %d times while the circuit was open", got-calls)
	}
	// With pauses of its real length, one lookup outlasts the two seconds for which the circuit stays open.
	s.ClearFaults()
	patient := newClient(t, s.URL(), func(o *gitlab.Options) { o.RetryInterval = time.Second })
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 503, Calls: 10})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := patient.AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
				t.Errorf("a lookup that began during the outage: %v", err)
			}
		})
	}
	all.Wait()
}

// A 500 is in the power of whoever writes an agent's config.yaml, a 429 in that of any user.
func TestAllowedAgents_OneJobsTroubleDoesNotOpenTheCircuit(t *testing.T) {
	for _, status := range []int{429, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s, token := server(t)
			c := newClient(t, s.URL(), nil)
			s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: status})
			for range 10 {
				if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); errors.Is(err, gitlab.ErrCircuitOpen) {
					t.Fatal("the circuit opened")
				}
			}
		})
	}
}

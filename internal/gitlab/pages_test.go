package gitlab_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestPages_EachIsRetriedOnItsOwn(t *testing.T) {
	s, name, slugs := asking(t, environments(250))
	s.Fault(
		gitlabtest.Fault{Endpoint: gitlabtest.Environments, Status: 502, Calls: 1},
		gitlabtest.Fault{Endpoint: gitlabtest.Environments, Status: 500, Skip: 1, Calls: 4},
		gitlabtest.Fault{Endpoint: gitlabtest.Environments, Truncate: true, Skip: 1, Calls: 4},
	)
	if got, err := name(slugs[249]); err != nil || got != "review/249" {
		t.Errorf("name is %q, %v", got, err)
	}
	if got, want := s.Calls(gitlabtest.Environments), 2+5+5; got != want {
		t.Errorf("GitLab was asked %d times, want %d", got, want)
	}
}

// What the first pages say decides nothing while a later one cannot be read.
func TestPages_OneThatFailsFailsTheSearch(t *testing.T) {
	rows := []struct {
		name  string
		fault gitlabtest.Fault
		calls int
		want  func(error) bool
	}{
		{"unavailable", gitlabtest.Fault{Status: 500}, 1 + 5, is[*gitlab.UnavailableError]},
		{"oversized", gitlabtest.Fault{Oversize: 1<<20 + 1}, 1 + 5, is[*gitlab.UnavailableError]},
		{"refused", gitlabtest.Fault{Status: 401, ContentType: "application/json", Body: `{"message":"401 Unauthorized"}`}, 1 + 1, is[*gitlab.RefusedError]},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, name, slugs := asking(t, environments(250))
			row.fault.Endpoint, row.fault.Skip = gitlabtest.Environments, 1
			s.Fault(row.fault)
			if got, err := name(slugs[249]); !row.want(err) || errors.Is(err, gitlab.ErrNotFound) || got != "" {
				t.Errorf("name is %q, %v", got, err)
			}
			if got := s.Calls(gitlabtest.Environments); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
		})
	}
}

func is[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

// Any one page comes well inside the timeout; all of them together do not.
func TestPages_TimeoutBoundsAllTogether(t *testing.T) {
	w := factsWorld()
	w.Project(150).Environments = environments(4000)
	s := gitlabtest.New(t, w)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Environments, Delay: 50 * time.Millisecond})
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.AccessToken, o.Timeout = accessToken, 500*time.Millisecond })
	_, err := c.EnvironmentName(t.Context(), c.Access(), 150, "nowhere")
	if !is[*gitlab.UnavailableError](err) {
		t.Errorf("error is %v, want unavailable", err)
	}
	// Ten pages of 50 ms and the one that the end of the time cuts off.
	if got := s.Calls(gitlabtest.Environments); got > 11 {
		t.Errorf("GitLab was asked %d times", got)
	}
}

func TestPages_AreBounded(t *testing.T) {
	page := "[" + strings.TrimSuffix(strings.Repeat(`{"name":"other","slug":"other","protected":true},`, 100), ",") + "]"
	var calls atomic.Int64
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Next-Page", "1") // where the next page is said to be does not matter, only that there is one
		fmt.Fprint(w, page)
	}))
	defer endless.Close()
	c := newClient(t, endless.URL, nil)
	rows := []struct {
		name  string
		ask   func() error
		pages int64
	}{
		{"environments", func() error { _, err := c.EnvironmentName(t.Context(), gitlab.JobToken("t"), 150, "prod"); return err }, 50},
		{"branches", func() error { _, err := c.BranchListed(t.Context(), "t", 150, "main"); return err }, 20},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			calls.Store(0)
			if err := row.ask(); !errors.Is(err, gitlab.ErrNotFound) {
				t.Errorf("error is %v, want not found", err)
			}
			if got := calls.Load(); got != row.pages {
				t.Errorf("GitLab was asked %d times, want %d", got, row.pages)
			}
		})
	}
}

// A page of environments carries 100 times whatever GitLab says of each and of its project.
func TestPages_HundredLargeEntriesFit(t *testing.T) {
	all := environments(100)
	for i := range all {
		all[i].Name = strings.Repeat("é", 500) + all[i].Name
		all[i].Slug = fmt.Sprintf("slug-%d", i)
	}
	s, name, _ := asking(t, all)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Environments, Oversize: 1 << 20})
	if got, err := name("slug-99"); err != nil || got != all[99].Name {
		t.Errorf("%v", err)
	}
}

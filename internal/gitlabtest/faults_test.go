package gitlabtest_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestFaults_ThatAnswer(t *testing.T) {
	type answer struct {
		status            int
		contentType, body string // body "real" is the undisturbed one
		header            map[string]string
	}
	const html = "text/html; charset=utf-8"
	tests := []struct {
		name  string
		fault gitlabtest.Fault
		want  answer
	}{
		{"status alone", gitlabtest.Fault{Status: 500}, answer{500, html, "", nil}},
		{"status with all", gitlabtest.Fault{Status: 503, Body: `{"a":1}`, ContentType: "application/json",
			Header: map[string]string{"Retry-After": "7"}},
			answer{503, "application/json", `{"a":1}`, map[string]string{"Retry-After": "7"}}},
		{"another success", gitlabtest.Fault{Status: 200, Body: "{", ContentType: "application/json"},
			answer{200, "application/json", "{", nil}},
		{"content type alone", gitlabtest.Fault{ContentType: "text/plain"}, answer{200, "text/plain", "real", nil}},
		{"body alone", gitlabtest.Fault{Body: "{}"}, answer{200, "application/json", "{}", nil}},
		{"header alone", gitlabtest.Fault{Header: map[string]string{"X-Extra": "1"}},
			answer{200, "application/json", "real", map[string]string{"X-Extra": "1"}}},
		{"delay alone", gitlabtest.Fault{Delay: time.Millisecond}, answer{200, "application/json", "real", nil}},
		{"redirect", gitlabtest.Fault{Redirect: "https://elsewhere.example.com/"},
			answer{302, html, "", map[string]string{"Location": "https://elsewhere.example.com/"}}},
		{"echo", gitlabtest.Fault{Status: 502, EchoToken: true},
			answer{502, "application/json", `{"message":"502 Bad Gateway: glcbt-64_given"}`, nil}},
		{"bad gateway", gitlabtest.BadGateway(), answer{502, html, "", nil}},
		{"unavailable", gitlabtest.Unavailable(), answer{503, html, "", nil}},
		{"rate limited at the edge", gitlabtest.RateLimitedAtEdge(), answer{429, "text/plain", "Retry later\n",
			map[string]string{"Retry-After": "", "RateLimit-Limit": ""}}},
		{"rate limited", gitlabtest.RateLimited(1500 * time.Millisecond), answer{429, "text/plain", "Retry later\n",
			map[string]string{"Retry-After": "2", "RateLimit-Remaining": "0", "RateLimit-Limit": "2000"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example(openToProject)
			w.Jobs[0].Token = "glcbt-64_given"
			g := startInstance(t, w)
			real := g.getAs(job, lookup).body
			if test.fault.Endpoint == "" {
				test.fault.Endpoint = gitlabtest.AllowedAgents
			}
			g.Fault(test.fault)
			got := g.getAs(job, lookup)
			body := map[string]string{"real": real, "": got.body}[test.want.body]
			if body == "" {
				body = test.want.body
			}
			seen := answer{got.StatusCode, got.Header.Get("Content-Type"), got.body, test.want.header}
			test.want.body = body
			if diff := cmp.Diff(test.want, seen, cmp.AllowUnexported(answer{})); diff != "" {
				t.Error(diff)
			}
			for name, value := range test.want.header {
				if got.Header.Get(name) != value {
					t.Errorf("%s: %q, want %q", name, got.Header.Get(name), value)
				}
			}
			g.ClearFaults()
			if got := g.getAs(job, lookup); got.StatusCode != http.StatusOK || got.body != real {
				t.Errorf("after clearing: %d %s", got.StatusCode, got.body)
			}
		})
	}
}

func TestRateLimited_SaysWhenTheWindowEnds(t *testing.T) {
	before := time.Now()
	fault := gitlabtest.RateLimited(time.Minute)
	after := time.Now()
	reset, err := strconv.ParseInt(fault.Header["RateLimit-Reset"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if reset < before.Add(time.Minute).Unix() || reset > after.Add(time.Minute).Unix() {
		t.Errorf("reset at %d", reset)
	}
	date, err := http.ParseTime(fault.Header["RateLimit-ResetTime"])
	if err != nil || date.Unix() != reset {
		t.Errorf("reset time %s, %v", date, err)
	}
	if fault.Header["Retry-After"] != "60" {
		t.Errorf("Retry-After %s", fault.Header["Retry-After"])
	}
}

func TestFaults_FormAQueue(t *testing.T) {
	status := func(endpoint string, status, calls, skip int) gitlabtest.Fault {
		return gitlabtest.Fault{Endpoint: endpoint, Status: status, Calls: calls, Skip: skip}
	}
	const a, j, any = gitlabtest.AllowedAgents, gitlabtest.CurrentJob, gitlabtest.AnyEndpoint
	tests := []struct {
		name   string
		faults []gitlabtest.Fault
		calls  string // a: lookup, j: job
		want   []int
	}{
		{"until cleared", []gitlabtest.Fault{status(a, 500, 0, 0)}, "aaa", []int{500, 500, 500}},
		{"one call", []gitlabtest.Fault{status(a, 500, 1, 0)}, "aa", []int{500, 200}},
		{"other endpoints are not hit", []gitlabtest.Fault{status(a, 500, 1, 0)}, "jja", []int{200, 200, 500}},
		{"skip", []gitlabtest.Fault{status(a, 500, 1, 2)}, "aaaa", []int{200, 200, 500, 200}},
		{"in turn", []gitlabtest.Fault{status(a, 500, 2, 0), status(a, 502, 1, 0)}, "aaaa", []int{500, 500, 502, 200}},
		{"the second skips in its turn", []gitlabtest.Fault{status(a, 500, 1, 0), status(a, 502, 1, 1)}, "aaaa",
			[]int{500, 200, 502, 200}},
		{"a skip holds the later ones", []gitlabtest.Fault{status(a, 500, 1, 1), status(a, 502, 1, 0)}, "aaaa",
			[]int{200, 500, 502, 200}},
		{"any endpoint", []gitlabtest.Fault{status(any, 500, 2, 0)}, "aja", []int{500, 500, 200}},
		{"any endpoint in turn with one", []gitlabtest.Fault{status(j, 500, 1, 0), status(any, 502, 1, 0)}, "ajj",
			[]int{502, 500, 200}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := startInstance(t, example(openToProject))
			g.Fault(test.faults...)
			var got []int
			for _, call := range test.calls {
				got = append(got, g.getAs(job, map[rune]string{'a': lookup, 'j': "/job"}[call]).StatusCode)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFaults_OfSomeJobTokensAlone(t *testing.T) {
	g := startInstance(t, example(openToProject))
	g.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 500, JobTokens: "glcbt-64_slow"})
	for token, want := range map[string]int{"glcbt-64_slow-one": 500, "glcbt-64_other": 401, g.token(job): 200} {
		if got := g.get(lookup, "JOB-TOKEN", token).StatusCode; got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
}

func TestFaults_HitUnknownRoutesToo(t *testing.T) {
	g := startInstance(t, example(""))
	g.Fault(gitlabtest.BadGateway())
	if got := g.get("/nothing"); got.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d", got.StatusCode)
	}
}

func TestFaults_HitExactlyAsManyConcurrentCallsAsTheySay(t *testing.T) {
	const calls, hits, skip = 100, 30, 10
	g := startInstance(t, example(openToProject))
	g.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 500, Calls: hits, Skip: skip})
	token := g.token(job)
	statuses := make(chan int, calls)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range calls / 10 {
				statuses <- g.get(lookup, "JOB-TOKEN", token).StatusCode
			}
		})
	}
	group.Wait()
	close(statuses)
	count := map[int]int{}
	for status := range statuses {
		count[status]++
	}
	if diff := cmp.Diff(map[int]int{500: hits, 200: calls - hits}, count); diff != "" {
		t.Error(diff)
	}
}

package gitlab

import (
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// outcome is what becomes of one request while GitLab has a fault.
type outcome string

const (
	admitted    outcome = "admitted" // by an answer that is fresh
	stale       outcome = "stale"    // the last answer serves
	rejected    outcome = "rejected"
	unavailable outcome = "unavailable" // nothing is decided
	learned     outcome = "learned"     // admitted, and the fact is known
	unknown     outcome = "unknown"     // admitted, and the fact is asked for again with the next refresh
)

// cell is what a fault does to one kind of question.
type cell struct {
	want  outcome
	calls int           // requests to GitLab that meet the fault; 0 for any number
	most  time.Duration // how long the caller waits at most; 0 for not at all
}

// faultRow is what a fault does to each kind of question. The refresh ahead is what a request gets after the refresh has
// ended, which an earlier one started without waiting.
type faultRow struct {
	name                                           string
	fault                                          gitlabtest.Fault
	noTLS                                          bool
	firstLogin, refreshAhead, waitingRefresh, fact cell
}

// The two common kinds of rows: trouble, which is asked about five times and decides nothing, and GitLab's own no.
var (
	retried  = 5 * time.Second // five attempts and the jittered pauses between them
	troubled = faultRow{
		firstLogin:     cell{want: unavailable, calls: 5, most: retried},
		refreshAhead:   cell{want: admitted, calls: 5},
		waitingRefresh: cell{want: stale, most: time.Second},
		fact:           cell{want: unknown, calls: 5, most: retried},
	}
	refused = faultRow{
		firstLogin:     cell{want: rejected, calls: 1},
		refreshAhead:   cell{want: rejected, calls: 1},
		waitingRefresh: cell{want: rejected, calls: 1},
		fact:           cell{want: unknown, calls: 1},
	}
	unanswered = faultRow{
		firstLogin:     cell{want: unavailable, calls: 1, most: maxAttemptTimeout},
		refreshAhead:   cell{want: admitted, calls: 1},
		waitingRefresh: cell{want: stale, calls: 1, most: time.Second},
		fact:           cell{want: unknown, calls: 1, most: maxAttemptTimeout},
	}
	postponed = faultRow{
		firstLogin:     cell{want: unavailable, calls: 1},
		refreshAhead:   cell{want: admitted, calls: 1},
		waitingRefresh: cell{want: stale, calls: 1},
		fact:           cell{want: unknown, calls: 1},
	}
	recovered = faultRow{
		firstLogin:     cell{want: admitted, calls: 2, most: time.Second},
		refreshAhead:   cell{want: admitted, calls: 2},
		waitingRefresh: cell{want: admitted, calls: 2, most: time.Second},
		fact:           cell{want: learned, calls: 2, most: time.Second},
	}
	harmless = faultRow{
		firstLogin:     cell{want: admitted, calls: 1},
		refreshAhead:   cell{want: admitted, calls: 1},
		waitingRefresh: cell{want: admitted, calls: 1},
		fact:           cell{want: learned, calls: 1},
	}
)

func (r faultRow) of(name string, f gitlabtest.Fault) faultRow {
	r.name, r.fault = name, f
	return r
}

func (r faultRow) within(most time.Duration) faultRow {
	r.firstLogin.most, r.waitingRefresh.most, r.fact.most = most, most, most
	return r
}

func withoutTLS(r faultRow) faultRow {
	r.noTLS, r.firstLogin.calls, r.refreshAhead.calls = true, 0, 0
	r.fact = r.firstLogin // no question gets through, the login's neither
	return r
}

func says(status int, body string) gitlabtest.Fault {
	return gitlabtest.Fault{Status: status, ContentType: "application/json", Body: body}
}

func faultRows() []faultRow {
	after := func(f gitlabtest.Fault, value string) gitlabtest.Fault {
		f.Header = map[string]string{"Retry-After": value}
		return f
	}
	slowly := troubled
	slowly.firstLogin = cell{want: admitted, calls: 1, most: 2 * time.Second}
	slowly.refreshAhead = cell{want: admitted, calls: 1}
	slowly.waitingRefresh = cell{want: stale, calls: 1, most: time.Second}
	slowly.fact = cell{want: learned, calls: 1, most: 2 * time.Second}
	// net/http itself repeats a request whose connection it had used before.
	reset := troubled
	reset.refreshAhead.calls, reset.fact.calls = 6, 6
	return []faultRow{
		harmless.of("none, for comparison", gitlabtest.Fault{Header: map[string]string{"X-Extra": "1"}}),
		refused.of("401 of GitLab", says(401, `{"message":"401 Unauthorized"}`)),
		refused.of("403 of GitLab", says(403, `{"message":"403 Forbidden - Your account has been blocked."}`)),
		refused.of("404 of GitLab", says(404, `{"message":"404 Not Found"}`)),
		troubled.of("401 of another", says(401, `{"message":"Unauthorized"}`)),
		troubled.of("403 of AWS", says(403, `{"message":"Forbidden"}`)),
		troubled.of("404 of Kong", says(404, `{"message":"no Route matched with those values"}`)),
		troubled.of("404 with another status in its message", says(404, `{"message":"401 Unauthorized"}`)),
		troubled.of("401 without JSON", gitlabtest.Fault{Status: 401, Body: "<html>401 Unauthorized</html>"}),
		troubled.of("401 as HTML that is JSON", gitlabtest.Fault{Status: 401, Body: `{"message":"401 Unauthorized"}`}),
		troubled.of("400", says(400, `{"error":"bad request"}`)),
		troubled.of("408", gitlabtest.Fault{Status: 408}),
		troubled.of("500 of GitLab", says(500, `{"message":"500 Internal Server Error"}`)),
		troubled.of("500 HTML", gitlabtest.Fault{Status: 500, Body: "<html></html>"}),
		troubled.of("502", gitlabtest.BadGateway()),
		troubled.of("503", gitlabtest.Unavailable()),
		postponed.of("503, retry in a minute", after(gitlabtest.Unavailable(), "60")),
		troubled.of("504", gitlabtest.Fault{Status: 504}),
		troubled.of("429 without Retry-After", gitlabtest.RateLimitedAtEdge()),
		postponed.of("429 with Retry-After", after(gitlabtest.RateLimitedAtEdge(), "60")),
		troubled.of("429 with a Retry-After that is no time", after(gitlabtest.RateLimitedAtEdge(), "soon")),
		recovered.of("500 once", gitlabtest.Fault{Status: 500, Calls: 1}),
		recovered.of("502 once", gitlabtest.Fault{Status: 502, Calls: 1}),
		recovered.of("a reset once", gitlabtest.Fault{Reset: true, Calls: 1}),
		troubled.of("204", gitlabtest.Fault{Status: 204}),
		troubled.of("301", gitlabtest.Fault{Status: 301, Header: map[string]string{"Location": "https://elsewhere.invalid/"}}),
		troubled.of("302", gitlabtest.Fault{Redirect: "https://elsewhere.invalid/users/sign_in"}),
		troubled.of("a page with 200", gitlabtest.Fault{Status: 200, Body: "<html></html>"}),
		troubled.of("wrong media type", gitlabtest.Fault{ContentType: "text/plain"}),
		troubled.of("no JSON", says(200, `{"allowed_agents":`)),
		troubled.of("an empty object", says(200, `{}`)),
		troubled.of("null", says(200, `null`)),
		troubled.of("a list", says(200, `[]`)),
		troubled.of("an empty body", gitlabtest.Fault{Status: 200, ContentType: "application/json"}),
		troubled.of("another job's reply, without ids", says(200, `{"job":{"id":0},"id":0}`)),
		troubled.of("truncated", gitlabtest.Fault{Truncate: true}),
		troubled.of("body with 2 MiB of blanks", gitlabtest.Fault{Oversize: 2 << 20}),
		troubled.of("body of 17 MiB", gitlabtest.Fault{Oversize: 17 << 20}),
		troubled.of("the token repeated, 500", gitlabtest.Fault{Status: 500, EchoToken: true}),
		reset.of("reset", gitlabtest.Fault{Reset: true}),
		withoutTLS(troubled.of("TLS error", gitlabtest.Fault{})),
		harmless.of("half a second", gitlabtest.Fault{Delay: 500 * time.Millisecond}).within(500 * time.Millisecond),
		slowly.of("two seconds", gitlabtest.Fault{Delay: 2 * time.Second}),
		unanswered.of("five seconds", gitlabtest.Fault{Delay: 5 * time.Second}),
		unanswered.of("hanging", gitlabtest.Fault{Hang: true}),
	}
}

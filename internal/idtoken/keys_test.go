package idtoken_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
)

var errAway = &job.UnavailableError{Err: errors.New("GitLab is away")}

func refresh(t *testing.T, s *idtoken.Source, known *job.Job) error {
	t.Helper()
	_, err := s.Identify(t.Context(), "", known, job.Refreshes)
	return err
}

func wantTrouble(t *testing.T, err error) {
	t.Helper()
	var rejected *job.RejectedError
	if err == nil || errors.As(err, &rejected) {
		t.Fatalf("error is %v, want trouble that decides nothing about the job", err)
	}
}

func TestKeys_RotationEndsOldTokensAndAdmitsNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := signers()[0], signers()[1]
		api := &scripted{keys: keySet(first)}
		s := newScripted(t, api, nil)
		old := first.token(t, nil)
		known := login(t, s, old)

		api.set(func(a *scripted) { a.keys = keySet(second) })
		fresh := second.token(t, nil)
		_, err := s.Identify(t.Context(), fresh, nil, job.Logins)
		wantRejected(t, err, job.Invalid, fresh)
		var rejected *job.RejectedError
		if errors.As(err, &rejected) && !rejected.Fleeting {
			t.Error("the refusal of a key that may be a moment old would be remembered")
		}
		if err := refresh(t, s, known); err != nil {
			t.Errorf("a job whose key is not known to have left: %v", err)
		}
		time.Sleep(30 * time.Second)
		login(t, s, fresh)
		api.wantKeyFetches(t, 2)

		wantRejected(t, refresh(t, s, known), job.Invalid, old)
		_, err = s.Identify(t.Context(), old, nil, job.Logins)
		wantRejected(t, err, job.Invalid, old)
	})
}

func TestKeys_UnknownKeysCostOneFetchPer30s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scripted{keys: keySet(signers()[0]), delay: time.Second}
		s := newScripted(t, api, nil)
		login(t, s, signers()[0].token(t, nil))
		foreign := signers()[1].token(t, nil)
		for round := range 3 {
			time.Sleep(30 * time.Second)
			everyone(500, func(int) {
				_, err := s.Identify(t.Context(), foreign, nil, job.Logins)
				var rejected *job.RejectedError
				if !errors.As(err, &rejected) {
					t.Errorf("error is %v, want a rejection", err)
				}
			})
			api.wantKeyFetches(t, 2+round)
		}
	})
}

// The first logins after a start all need the set, and none of them is refused because another one asks for it.
func TestKeys_ConcurrentFirstLoginsShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scripted{keys: keySet(signers()[0]), delay: time.Second}
		s := newScripted(t, api, nil)
		everyone(100, func(i int) {
			time.Sleep(time.Duration(i) * time.Millisecond) // some come while the fetch is under way
			login(t, s, signers()[0].token(t, map[string]any{"jti": fmt.Sprint(i)}))
		})
		api.wantKeyFetches(t, 1)
		api.wantGroupQuestions(t, 1)
	})
}

func everyone(n int, do func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

func TestKeys_AreRefreshedHourlyInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scripted{keys: keySet(signers()[0])}
		s := newScripted(t, api, nil)
		known := login(t, s, signers()[0].token(t, nil))
		time.Sleep(time.Hour - time.Second)
		login(t, s, signers()[0].token(t, nil))
		api.wantKeyFetches(t, 1)

		api.set(func(a *scripted) { a.keys = keySet(signers()[1]) })
		time.Sleep(time.Second)
		if err := refresh(t, s, known); err != nil { // does not wait for the fetch that it starts
			t.Error(err)
		}
		synctest.Wait()
		api.wantKeyFetches(t, 2)
		wantRejected(t, refresh(t, s, known), job.Invalid, "")
	})
}

// The last good keys serve for 24 h, whatever GitLab answers meanwhile.
func TestKeys_LastGoodOnesServeForADay(t *testing.T) {
	first := signers()[0]
	weak := strings.Replace(string(keySet(first)), `"n":"`, `"n":"AQAB","x":"`, 1)
	rows := []struct {
		name string
		body string
		err  error
	}{
		{name: "GitLab is away", err: errAway},
		{name: "HTML", body: "<!DOCTYPE html><title>Sign in</title>"},
		{name: "nothing"},
		{name: "an empty set", body: `{"keys":[]}`},
		{name: "no set", body: `{}`},
		{name: "null", body: `null`},
		{name: "another type", body: `{"keys":"none"}`},
		{name: "keys of other algorithms", body: strings.ReplaceAll(string(keySet(first)), "RS256", "ES256")},
		{name: "keys for encryption", body: strings.ReplaceAll(string(keySet(first)), `"sig"`, `"enc"`)},
		{name: "a weak key", body: weak},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, metrics := &scripted{keys: keySet(first)}, prometheus.NewRegistry()
				s := newScripted(t, api, metrics)
				known := login(t, s, first.token(t, nil))
				api.set(func(a *scripted) { a.keys, a.keysErr = []byte(row.body), row.err })

				for range 23 {
					time.Sleep(time.Hour)
					login(t, s, first.token(t, nil))
				}
				time.Sleep(time.Hour - time.Second)
				if err := refresh(t, s, known); err != nil {
					t.Errorf("a second before a day is over: %v", err)
				}
				synctest.Wait()
				api.wantKeyFetches(t, 25)

				time.Sleep(time.Minute)
				_, err := s.Identify(t.Context(), first.token(t, nil), nil, job.Logins)
				wantTrouble(t, err)
				wantTrouble(t, refresh(t, s, known))

				api.set(func(a *scripted) { a.keys, a.keysErr = keySet(first), nil })
				time.Sleep(30 * time.Second)
				login(t, s, first.token(t, nil))
				if err := refresh(t, s, known); err != nil {
					t.Errorf("when GitLab is back: %v", err)
				}
				const want = `
# HELP jobgate_idtoken_key_fetches_total Fetches of GitLab's key set, by result: ok, or failed with the last good set staying in use.
# TYPE jobgate_idtoken_key_fetches_total counter
jobgate_idtoken_key_fetches_total{result="failed"} 25
jobgate_idtoken_key_fetches_total{result="ok"} 2
`
				if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "jobgate_idtoken_key_fetches_total"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A set with a key that is of no use is still good for its other keys.
func TestKeys_PassesOverWhatIsOfNoUse(t *testing.T) {
	first := signers()[0]
	rows := []struct{ name, extra string }{
		{name: "another type of key", extra: `{"kty":"EC","kid":"first","crv":"P-256","x":"AA","y":"AA"}`},
		{name: "no id", extra: `{"kty":"RSA","n":"AQAB","e":"AQAB"}`},
		{name: "an even exponent", extra: `{"kty":"RSA","kid":"x","n":"AQAB","e":"Ag"}`},
		{name: "an exponent of five bytes", extra: `{"kty":"RSA","kid":"x","n":"AQAB","e":"AQAAAAE"}`},
		{name: "no base64url", extra: `{"kty":"RSA","kid":"x","n":"+/","e":"AQAB"}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := strings.Replace(string(keySet(first)), `[`, `[`+row.extra+`,`, 1)
				login(t, newScripted(t, &scripted{keys: []byte(keys)}, nil), first.token(t, nil))
			})
		})
	}
}

// What the real client makes of a key endpoint that is not well: trouble, in bounded size and time, and no rejection.
func TestKeys_EndpointThatIsNotWell(t *testing.T) {
	rows := []struct {
		name  string
		fault gitlabtest.Fault
	}{
		{name: "HTML", fault: gitlabtest.Fault{Status: 200, Body: "<!DOCTYPE html><title>Sign in</title>"}},
		{name: "502", fault: gitlabtest.Fault{Status: 502}},
		{name: "404", fault: gitlabtest.Fault{Status: 404, ContentType: "application/json", Body: `{"error":"404 Not Found"}`}},
		{name: "10 MB", fault: gitlabtest.Fault{Oversize: 10 << 20}},
		{name: "an empty set", fault: gitlabtest.Fault{Body: `{"keys":[]}`}},
		{name: "nothing", fault: gitlabtest.Fault{Status: 200, ContentType: "application/json"}},
		{name: "half of it", fault: gitlabtest.Fault{Truncate: true}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, instance(), accessToken)
			row.fault.Endpoint = gitlabtest.KeySet
			f.gitlab.Fault(row.fault)
			token := f.token(t, nil)
			_, err := f.identify(token)
			wantTrouble(t, err)
			if _, again := f.identify(token); again == nil || f.gitlab.Calls(gitlabtest.ProjectJob) > 0 {
				t.Error("a token whose key is not known was believed")
			}
		})
	}
}

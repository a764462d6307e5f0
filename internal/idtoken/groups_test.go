package idtoken_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

func wantGroups(t *testing.T, j *job.Job, want ...int64) {
	t.Helper()
	if !j.Groups.Known || !slices.Equal(j.Groups.Value, want) {
		t.Errorf("groups are %+v, want %v", j.Groups, want)
	}
}

func TestGroups_AreRefreshedInTheBackgroundAfter10Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scripted{keys: keySet(signers()[0]), groups: []int64{25, 23}}
		s := newScripted(t, api, nil)
		token := signers()[0].token(t, nil)
		wantGroups(t, login(t, s, token), 25, 23)
		api.set(func(a *scripted) { a.groups, a.delay = []int64{31}, time.Second })

		time.Sleep(10*time.Minute - time.Second)
		wantGroups(t, login(t, s, token), 25, 23)
		api.wantGroupQuestions(t, 1)

		time.Sleep(time.Second)
		began := time.Now()
		everyone(100, func(int) { wantGroups(t, login(t, s, token), 25, 23) })
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a login waited %s for a refresh", waited)
		}
		time.Sleep(2 * time.Second)
		wantGroups(t, login(t, s, token), 31)
		api.wantGroupQuestions(t, 2)
	})
}

func TestGroups_FailureKeepsTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scripted{keys: keySet(signers()[0]), groups: []int64{23}}
		s := newScripted(t, api, nil)
		token := signers()[0].token(t, nil)
		wantGroups(t, login(t, s, token), 23)
		api.set(func(a *scripted) { a.groupErr = errAway })

		time.Sleep(10 * time.Minute)
		for range 100 { // 10 s between two questions
			wantGroups(t, login(t, s, token), 23)
			synctest.Wait()
			time.Sleep(time.Second)
		}
		api.wantGroupQuestions(t, 11)

		api.set(func(a *scripted) { a.groupErr, a.groups = nil, []int64{31} })
		login(t, s, token)
		synctest.Wait()
		wantGroups(t, login(t, s, token), 31)
	})
}

// GitLab's no is an answer, too: it is remembered, and its reason is there for the rules.
func TestGroups_RefusalIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scripted{keys: keySet(signers()[0]), groupErr: &job.UnlearnableError{Why: "it may not see them", Refused: true}}
		s := newScripted(t, api, nil)
		for range 3 {
			j := login(t, s, signers()[0].token(t, nil))
			if j.Groups.Known || j.Groups.Why != "it may not see them" || !j.Groups.Refused {
				t.Errorf("groups are %+v", j.Groups)
			}
		}
		api.wantGroupQuestions(t, 1)
	})
}

func TestGroups_ConcurrentFirstLoginsAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scripted{keys: keySet(signers()[0]), groups: []int64{23}, delay: time.Second}
		s := newScripted(t, api, nil)
		token := signers()[0].token(t, nil)
		everyone(100, func(int) { wantGroups(t, login(t, s, token), 23) })
		api.wantGroupQuestions(t, 1)
	})
}

package webhook_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/webhook"
)

// hanging is a GitLab that answers about one job, and about no other token.
type hanging struct{ job.FactSource }

func (hanging) Identify(ctx context.Context, token string, _ *job.Job, _ job.Lane) (*job.Job, error) {
	if token == "known" {
		return &job.Job{ID: 1, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe"}, nil
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// As many logins of both kinds as may wait leave room for the jobs that are known.
func TestHandler_WaitingLoginsLeaveKnownJobsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, err := job.NewRegistry(job.Sources{JobTokens: hanging{}, IDTokens: hanging{}}, job.Settings{
			FreshFor: time.Hour, MaxJobs: 1, MaxRejected: 1, Timeout: 10 * time.Second, Needs: func(*job.Job) job.Needs { return job.Needs{} },
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		h := webhook.NewHandler(tokens(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
			c := job.Credential{Token: token}
			if strings.HasPrefix(token, "ID token") {
				c.Kind = job.IDToken
			}
			_, err := registry.Lookup(ctx, c)
			return &authenticator.Response{User: someUser}, err == nil, err
		}), noOpinion, nil)
		if code := post(h, review("v1", "known")).Code; code != 200 {
			t.Fatalf("the first login: %d", code)
		}
		var all sync.WaitGroup
		for range 3000 {
			all.Go(func() { post(h, review("v1", "job token")) })
			all.Go(func() { post(h, review("v1", "ID token")) })
		}
		synctest.Wait()
		if w := post(h, review("v1", "known")); w.Code != 200 {
			t.Errorf("a known job got %d: %s", w.Code, w.Body)
		}
		all.Wait()
	})
}

package job

import (
	"context"
	"errors"
	"testing"
	"time"
)

// verifier is a source of ID tokens: it wants a token that it has not verified before.
type verifier struct{ Source }

func (verifier) Identify(_ context.Context, token string, before *Job, _ Lane) (*Job, error) {
	if before == nil && token == "" {
		return nil, &RejectedError{Rejection: Invalid}
	}
	return &Job{ID: 1, PipelineID: 501, ProjectID: 150, Username: "jdoe"}, nil
}

// The cache may drop an entry between the look at it and its refresh. Of an ID token the entry has no text any more.
func TestRefresh_OfAnIDTokenThatLeftTheCache(t *testing.T) {
	r, err := NewRegistry(Sources{IDTokens: verifier{}}, Settings{
		FreshFor: time.Minute, RejectedFor: time.Minute, MaxJobs: 1, MaxRejected: 1, Timeout: time.Minute,
		Needs: func(*Job) Needs { return Needs{} },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := Credential{Kind: IDToken, Token: "ID token"}
	if _, err := r.Lookup(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	k := r.key(c)
	e, _ := r.jobs.Get(k)
	r.jobs.Remove(k)
	refresh, _ := r.refresh(t.Context(), k, e)
	if result := <-refresh; result.Err != nil {
		t.Errorf("the refresh: %v", result.Err)
	}
	var rejected *RejectedError
	if _, err := r.Lookup(t.Context(), c); errors.As(err, &rejected) {
		t.Errorf("the next login: %v", err)
	}
}

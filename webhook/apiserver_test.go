package webhook_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	apiserverwebhook "k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	"k8s.io/client-go/rest"

	"github.com/jobgate/jobgate/tokenreview"
	"github.com/jobgate/jobgate/webhook"
)

// The API server's own webhook client and token cache, over mutual TLS, with what each answer costs: how often jobgate
// is called for the first and for the second presentation of one token.
func TestServer_AsKubeAPIServerSeesIt(t *testing.T) {
	rejected := &tokenreview.RejectedError{Reason: tokenreview.ReasonNotRunning}
	rows := []struct {
		name          string
		answer        tokens
		ok            bool
		isError       bool
		first, second int64
	}{
		{"a job is cached", answerWith(&authenticator.Response{User: someUser}, true, nil), true, false, 1, 0},
		{"another authenticator's token is cached", answerWith(nil, false, nil), false, false, 1, 0},
		{"a rejection is asked again", answerWith(nil, false, rejected), false, true, 1, 1},
		{"an outage fails at once and is asked again", answerWith(nil, false, errors.New("down")), false, true, 1, 1},
	}
	p := newPKI(t)
	for _, row := range rows {
		for _, version := range []string{"v1", "v1beta1"} {
			t.Run(row.name+", "+version, func(t *testing.T) {
				var calls atomic.Int64
				s := newServer(t, p.serve(t, nil), webhook.NewHandler(tokens(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
					calls.Add(1)
					return row.answer(ctx, token)
				}), noOpinion, nil))
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- s.Run(ctx) }()
				defer func() { stop(); <-ended }()

				client := apiserver(t, p, s.Address().String(), version)
				for i, want := range []int64{row.first, row.second} {
					calls.Store(0)
					response, ok, err := client.AuthenticateToken(t.Context(), secret)
					if ok != row.ok || (err != nil) != row.isError {
						t.Errorf("presentation %d: ok is %t, error is %v", i+1, ok, err)
					}
					if got := calls.Load(); got != want {
						t.Errorf("presentation %d: jobgate was called %d times, want %d", i+1, got, want)
					}
					if !ok {
						continue
					}
					if diff := cmp.Diff(someUser.Groups, response.User.GetGroups()); diff != "" {
						t.Errorf("groups (-want +got):\n%s", diff)
					}
					if diff := cmp.Diff(someUser.Extra, response.User.GetExtra()); diff != "" {
						t.Errorf("extra (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
}

// apiserver is the chain that kube-apiserver builds for --authentication-token-webhook-config-file.
func apiserver(t *testing.T, p *pki, address, version string) authenticator.Token {
	t.Helper()
	config := &rest.Config{Host: "https://" + address + "/authenticate", TLSClientConfig: rest.TLSClientConfig{
		CAFile: p.clientCA, CertFile: p.apiserver.Cert, KeyFile: p.apiserver.Key,
	}}
	backoff := wait.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 5}
	w, err := apiserverwebhook.New(config, version, authenticator.Audiences{"https://kubernetes.default.svc"}, backoff)
	if err != nil {
		t.Fatal(err)
	}
	return cache.New(w, false, 2*time.Minute, 2*time.Minute)
}

// A token of a mebibyte, as large as kube-apiserver lets through, is answered and not broken off.
func TestServer_LargestTokenOfTheAPIServer(t *testing.T) {
	p := newPKI(t)
	var length atomic.Int64
	s := newServer(t, p.serve(t, nil), webhook.NewHandler(tokens(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		length.Store(int64(len(token)))
		return nil, false, nil
	}), noOpinion, nil))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() { stop(); <-ended }()
	if _, ok, err := apiserver(t, p, s.Address().String(), "v1").AuthenticateToken(t.Context(), strings.Repeat("a", 1<<20)); ok || err != nil {
		t.Errorf("ok is %t, error is %v", ok, err)
	}
	if got := length.Load(); got != 1<<20 {
		t.Errorf("the authenticator saw %d bytes", got)
	}
}

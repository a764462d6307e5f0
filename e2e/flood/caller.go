package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// accessTimeout is that of the AuthorizationConfiguration that jobgate recommends.
	accessTimeout = 3 * time.Second
	// loginTimeout outlasts jobgate's own timeout for GitLab.
	loginTimeout = 15 * time.Second
)

// errRefused is jobgate's no.
var errRefused = errors.New("refused")

// caller asks jobgate as kube-apiserver does: over HTTP/2, with its client certificate, logins and authorizations over the
// same connections.
type caller struct {
	client *http.Client
	url    string
}

func newCaller(in *installation) (*caller, error) {
	configuration, err := in.clientTLS()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: configuration, ForceAttemptHTTP2: true}
	return &caller{client: &http.Client{Transport: transport}, url: "https://" + in.address}, nil
}

// clientTLS are the settings of a caller that has the API server's certificate.
func (in *installation) clientTLS() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(in.files.Cert, in.files.Key)
	if err != nil {
		return nil, fmt.Errorf("load the client certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: in.authority.Pool(), Certificates: []tls.Certificate{pair}}, nil
}

// login asks who a token is. An error that is errRefused is jobgate's word on the token.
func (c *caller) login(ctx context.Context, token string) (*authenticationv1.UserInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	review := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token},
	}
	var answer authenticationv1.TokenReview
	if err := c.post(ctx, "/authenticate", review, &answer); err != nil {
		return nil, err
	}
	if !answer.Status.Authenticated {
		return nil, fmt.Errorf("login %w: %s", errRefused, answer.Status.Error)
	}
	return &answer.Status.User, nil
}

// authorize asks whether the user may read a pod.
func (c *caller) authorize(ctx context.Context, u *authenticationv1.UserInfo) error {
	ctx, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	extra := make(map[string]authorizationv1.ExtraValue, len(u.Extra))
	for key, values := range u.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	review := authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: u.Username, UID: u.UID, Groups: u.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: "shop", Verb: "get", Version: "v1", Resource: "pods", Name: "web",
			},
		},
	}
	var answer authorizationv1.SubjectAccessReview
	if err := c.post(ctx, "/authorize", review, &answer); err != nil {
		return err
	}
	if answer.Status.Denied {
		return fmt.Errorf("request %w: %s", errRefused, answer.Status.Reason)
	}
	return nil
}

func (c *caller) post(ctx context.Context, path string, review, answer any) error {
	body, err := json.Marshal(review)
	if err != nil {
		return fmt.Errorf("encode the review: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.300s", path, response.Status, content)
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}

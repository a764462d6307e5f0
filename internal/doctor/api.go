package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/jobgate/jobgate/internal/reviews"
)

// api asks an API server about the caller.
type api struct {
	*reviews.Client
	transport *http.Transport
}

// newAPI returns a client that presents the credential to the target. It makes no connection yet.
func newAPI(t target, credential, userAgent string) (*api, error) {
	transport := newTransport(t)
	client, err := reviews.New(&rest.Config{
		Host: t.url.String(), BearerToken: credential, UserAgent: userAgent, Timeout: apiTimeout, Transport: transport,
	})
	if err != nil {
		return nil, err
	}
	return &api{Client: client, transport: transport}, nil
}

func newTransport(t target) *http.Transport {
	trust := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.serverName, InsecureSkipVerify: t.insecure} //nolint:gosec // as the kubeconfig under examination says
	if len(t.ca) > 0 {
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(t.ca)
	}
	return &http.Transport{
		TLSClientConfig: trust, TLSHandshakeTimeout: networkTimeout, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: 64 << 10,
		Proxy:                  func(*http.Request) (*url.URL, error) { return t.proxy, nil },
	}
}

func (a *api) close() { a.transport.CloseIdleConnections() }

// whoAmI asks the API server who the caller is.
func (a *api) whoAmI(ctx context.Context) (authenticationv1.UserInfo, error) {
	review := &authenticationv1.SelfSubjectReview{}
	err := a.Authentication.Post().Resource("selfsubjectreviews").MaxRetries(0).Body(review).Do(ctx).Into(review)
	return review.Status.UserInfo, err
}

// mayI asks whether the caller may do something.
func (a *api) mayI(
	ctx context.Context, attributes authorizationv1.ResourceAttributes,
) (authorizationv1.SubjectAccessReviewStatus, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
	}
	err := a.Authorization.Post().Resource("selfsubjectaccessreviews").MaxRetries(0).Body(review).Do(ctx).Into(review)
	return review.Status, err
}

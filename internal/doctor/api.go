package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// maxReply bounds one answer of the API server, in bytes.
const maxReply = 1 << 20

// api asks an API server about the caller. It knows two kinds and uses none of client-go's generated clients, which would
// bring every type of Kubernetes into the program.
type api struct {
	authentication, authorization *rest.RESTClient
	transport                     *http.Transport
}

// newAPI returns a client that presents the credential to the target. It makes no connection yet.
func newAPI(t target, credential, userAgent string) (*api, error) {
	codecs, err := codecs()
	if err != nil {
		return nil, err
	}
	transport := newTransport(t)
	config := &rest.Config{
		Host: t.url.String(), APIPath: "/apis", BearerToken: credential, UserAgent: userAgent, Timeout: apiTimeout,
		Transport: bounded{transport}, WarningHandler: rest.NoWarnings{},
		ContentConfig: rest.ContentConfig{NegotiatedSerializer: codecs},
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	// A redirect would take the credential to another server.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a := &api{transport: transport}
	for _, of := range []struct {
		version schema.GroupVersion
		client  **rest.RESTClient
	}{
		{authenticationv1.SchemeGroupVersion, &a.authentication}, {authorizationv1.SchemeGroupVersion, &a.authorization},
	} {
		versioned := rest.CopyConfig(config)
		versioned.GroupVersion = &of.version
		if *of.client, err = rest.RESTClientForConfigAndClient(versioned, client); err != nil {
			return nil, fmt.Errorf("make a client for the API server: %w", err)
		}
	}
	return a, nil
}

func codecs() (runtime.NegotiatedSerializer, error) {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("make the API server's types known: %w", err)
		}
	}
	return serializer.NewCodecFactory(scheme).WithoutConversion(), nil
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
	err := a.authentication.Post().Resource("selfsubjectreviews").MaxRetries(0).Body(review).Do(ctx).Into(review)
	return review.Status.UserInfo, err
}

// mayI asks whether the caller may do something.
func (a *api) mayI(
	ctx context.Context, attributes authorizationv1.ResourceAttributes,
) (authorizationv1.SubjectAccessReviewStatus, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
	}
	err := a.authorization.Post().Resource("selfsubjectaccessreviews").MaxRetries(0).Body(review).Do(ctx).Into(review)
	return review.Status, err
}

// bounded is a transport that cuts answers at maxReply.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxReply), response.Body}
	return response, nil
}

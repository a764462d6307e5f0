// Package reviews asks an API server with the kinds of authentication.k8s.io and authorization.k8s.io. It uses none of
// client-go's generated clients, which would bring every type of Kubernetes into the program.
package reviews

import (
	"fmt"
	"io"
	"net/http"

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

// Client has a client for each of the two groups.
type Client struct{ Authentication, Authorization *rest.RESTClient }

// New returns a client for the API server of the configuration. It makes no connection yet. It follows no redirect, which would
// take the credential to another server.
func New(config *rest.Config) (*Client, error) {
	codecs, err := codecs()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.APIPath, config.WarningHandler = "/apis", rest.NoWarnings{}
	config.ContentConfig = rest.ContentConfig{NegotiatedSerializer: codecs}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next} })
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := &Client{}
	for _, of := range []struct {
		version schema.GroupVersion
		client  **rest.RESTClient
	}{
		{authenticationv1.SchemeGroupVersion, &c.Authentication}, {authorizationv1.SchemeGroupVersion, &c.Authorization},
	} {
		versioned := rest.CopyConfig(config)
		versioned.GroupVersion = &of.version
		if *of.client, err = rest.RESTClientForConfigAndClient(versioned, client); err != nil {
			return nil, fmt.Errorf("make a client for the API server: %w", err)
		}
	}
	return c, nil
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

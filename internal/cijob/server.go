package cijob

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Errors of CheckServer. None repeats the URL, which may hold a password.
var (
	ErrNoServer     = errors.New("the API server is not known: give --server, or set the CI/CD variable " + VarKubeURL)
	ErrServerURL    = errors.New("the API server's URL is not of the form https://HOST[:PORT][/PATH]")
	ErrServerScheme = errors.New("the API server's URL must begin with https://: over http, kubectl sends no token")
	ErrTunnel       = errors.New("the API server's URL is that of GitLab's tunnel (/k8s-proxy); give the cluster's own")
)

// CheckServer reads the URL of an API server that a job can talk to directly.
func CheckServer(text string) (*url.URL, error) {
	if text == "" {
		return nil, ErrNoServer
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, ErrServerURL
	case u.Scheme == "http":
		return nil, ErrServerScheme
	case u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, ErrServerURL
	case isTunnel(u):
		return nil, ErrTunnel
	}
	return u, nil
}

// isTunnel recognizes the URLs that GitLab writes into a job's kubeconfig: https://kas.HOST/k8s-proxy/, or
// https://HOST/-/kubernetes-agent/k8s-proxy/ (Omnibus).
func isTunnel(u *url.URL) bool { return slices.Contains(strings.Split(u.Path, "/"), "k8s-proxy") }

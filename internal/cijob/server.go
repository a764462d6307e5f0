package cijob

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Errors of ServerURL and CheckServer. None repeats the URL, which may hold a password.
var (
	ErrNoServer = errors.New(VarURL + " is not set, so the address of the cluster's API server is not known: " +
		"set it as a CI/CD variable, or give --server")
	ErrServerURL    = errors.New("the API server's URL is not of the form https://HOST[:PORT][/PATH]")
	ErrServerScheme = errors.New("the API server's URL begins with http://, and kubectl sends no token without TLS: " +
		"give a URL that begins with https://")
	ErrTunnel = errors.New("the API server's URL is the address of GitLab's tunnel (/k8s-proxy): " +
		"give the address of the cluster's API server")
)

// ServerURL reads the API server's URL from the value of --server or, if that is empty, from JOBGATE_URL.
//
// KUBE_URL is no substitute. GitLab sets it itself for a cluster that is connected with certificates, and the job's token
// would then go to that cluster. The error says so where KUBE_URL is all that is set.
func ServerURL(flag string, v Variables) (*url.URL, error) {
	u, err := CheckServer(cmp.Or(flag, v(VarURL)))
	if !errors.Is(err, ErrNoServer) || v(varKubeURL) == "" {
		return u, err
	}
	if OfCertificateCluster(v(varKubeURL), v) {
		return nil, fmt.Errorf("%w; %s is not used: it is GitLab's own and names a cluster that is connected with "+
			"certificates, as %s shows", err, varKubeURL, varKubeToken)
	}
	return nil, fmt.Errorf("%w; %s is not used: GitLab may set a variable of that name itself, for another cluster", err, varKubeURL)
}

// OfCertificateCluster says whether a server is the one of the cluster that GitLab knows by certificate, in a job that
// has such a cluster.
func OfCertificateCluster(server string, v Variables) bool {
	return v(varKubeToken) != "" && strings.TrimRight(server, "/") == strings.TrimRight(v(varKubeURL), "/")
}

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

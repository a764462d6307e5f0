package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/jobgate/jobgate/internal/cijob"
)

const defaultNamespace = "default"

// target is the API server that the remaining checks talk to.
type target struct {
	url        *url.URL // nil: none that can be talked to
	ca         []byte   // PEM; empty: the system's
	serverName string   // for the certificate, where it is not the URL's
	insecure   bool     // the certificate is not checked at all
	proxy      *url.URL
	why        string // there is no URL
}

const pointDirect = "point the context at the cluster's own address: jobgate kubeconfig, or extend .jobgate " +
	"(manifests/gitlab-ci)"

// checkServer finds the API server: what the flags say, else what the context says, else what the variables say.
func (e *examination) checkServer(context.Context) Finding {
	f := Finding{Name: "server"}
	ofContext, variable := e.Server == "" && e.subject.cluster.Server != "", e.Variables(cijob.VarKubeURL)
	u, err := cijob.CheckServer(cmp.Or(e.Server, e.subject.cluster.Server, variable))
	if err != nil {
		f.State, f.What, f.Do = Failure, err.Error(), pointDirect
		e.target.why = "there is no API server to talk to"
	}
	// The tunnel is not what jobgate is about: the rest can still be said of the cluster itself.
	if errors.Is(err, cijob.ErrTunnel) && ofContext && variable != "" {
		ofContext = false
		if u, err = cijob.CheckServer(variable); err == nil {
			f.What += "; the rest is checked against $" + cijob.VarKubeURL
		}
	}
	if err != nil {
		return f
	}
	e.target.url = u
	if bad := e.readTrust(ofContext); bad != nil {
		return *bad
	}
	if f.State == Failure {
		return f
	}
	return e.describeServer(f, ofContext, variable)
}

func (e *examination) describeServer(f Finding, inContext bool, variable string) Finding {
	f.State, f.What = OK, e.target.url.String()
	if e.target.proxy != nil {
		f.What += " through the proxy " + e.target.proxy.Redacted()
	}
	switch {
	case e.target.insecure:
		f.State = Warning
		f.What += ", whose certificate nobody checks: whoever is in between can take the token"
		f.Do = "take insecure-skip-tls-verify away, and give the cluster's CA: jobgate kubeconfig --certificate-authority"
	case inContext && variable != "" && !sameServer(e.target.url, variable):
		f.State = Warning
		f.What += fmt.Sprintf(", but $%s is %s", cijob.VarKubeURL, e.quote(variable))
		f.Do = pointDirect
	}
	return f
}

// sameServer compares a server with the text of another.
func sameServer(u *url.URL, other string) bool {
	return strings.TrimRight(u.String(), "/") == strings.TrimRight(other, "/")
}

// readTrust finds out whom to trust, and whom to go through: what goes with the server that was chosen. A Finding says
// why there can be no talking to it.
func (e *examination) readTrust(ofContext bool) *Finding {
	unusable := func(what string, err error, do string) *Finding {
		e.target.url, e.target.why = nil, what
		return &Finding{Name: "server", State: Failure, What: what + ": " + err.Error(), Do: do}
	}
	cluster, ca := e.subject.cluster, e.CA
	switch {
	case ca != "":
	case !ofContext:
		ca = e.Variables(cijob.VarKubeCAFile)
	default:
		e.target.serverName, e.target.insecure = cluster.TLSServerName, cluster.InsecureSkipTLSVerify
		e.target.ca, ca = cluster.CertificateAuthorityData, cluster.CertificateAuthority
	}
	var err error
	if ca != "" && len(e.target.ca) == 0 {
		if e.target.ca, err = cijob.ReadCA(ca); err != nil {
			return unusable("the API server's CA cannot be read", err,
				"give the cluster's CA in PEM, as a CI/CD variable of type file: "+cijob.VarKubeCAFile)
		}
	}
	if e.target.proxy, err = e.proxyFor(cluster.ProxyURL); err != nil {
		return unusable("the proxy cannot be used", err, "mend HTTPS_PROXY, or proxy-url in the kubeconfig")
	}
	return nil
}

// proxyFor is the proxy that kubectl would use.
func (e *examination) proxyFor(ofCluster string) (*url.URL, error) {
	if ofCluster != "" {
		return url.Parse(ofCluster)
	}
	return e.Proxy(&http.Request{Method: http.MethodGet, URL: e.target.url})
}

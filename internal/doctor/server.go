package doctor

import (
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

const pointDirect = "make the context point at the cluster's own address: run jobgate kubeconfig, or let the job extend .jobgate " +
	"(manifests/gitlab-ci)"

// checkServer finds the API server: from the flags, else from the context, else from the variables.
func (e *examination) checkServer(context.Context) Finding {
	f := Finding{Name: "server"}
	inContext := e.Server == "" && e.subject.cluster.Server != ""
	u, err := e.findServer(inContext)
	if err != nil {
		f.State, f.What, f.Do = Failure, err.Error(), pointDirect
		e.target.why = "there is no API server to talk to"
	}
	// The cluster itself can still be checked, if a variable has its address.
	if inContext && (errors.Is(err, cijob.ErrTunnel) || errors.Is(err, errCertificateCluster)) && e.Variables(cijob.VarURL) != "" {
		inContext = false
		if u, err = cijob.ServerURL("", e.Variables); err == nil {
			f.What += "; the other checks use $" + cijob.VarURL
		}
	}
	if err != nil {
		return f
	}
	e.target.url = u
	if bad := e.readTrust(inContext); bad != nil {
		return *bad
	}
	if f.State == Failure {
		return f
	}
	return e.describeServer(f, inContext, e.Variables(cijob.VarURL))
}

// errCertificateCluster refuses a context that GitLab's KUBE_URL, and not the job's author, has pointed somewhere.
var errCertificateCluster = errors.New("the context points at the cluster that GitLab is connected to with certificates " +
	"(KUBE_URL and KUBE_TOKEN are set), and the job's token is not for that cluster")

func (e *examination) findServer(inContext bool) (*url.URL, error) {
	if !inContext {
		return cijob.ServerURL(e.Server, e.Variables)
	}
	u, err := cijob.CheckServer(e.subject.cluster.Server)
	if err == nil && cijob.OfCertificateCluster(u.String(), e.Variables) && !sameServer(u, e.Variables(cijob.VarURL)) {
		return nil, errCertificateCluster
	}
	return u, err
}

func (e *examination) describeServer(f Finding, inContext bool, variable string) Finding {
	what := e.target.url.String()
	if e.target.proxy != nil {
		what += " through the proxy " + e.target.proxy.Redacted()
	}
	switch {
	case e.target.insecure:
		return f.Warned(what+", but kubectl does not check its certificate (insecure-skip-tls-verify), so anyone in between can take the token",
			"remove insecure-skip-tls-verify and give the cluster's CA: set "+cijob.VarCAFile+" and run jobgate kubeconfig")
	case inContext && variable != "" && !sameServer(e.target.url, variable):
		return f.Warned(what+fmt.Sprintf(", but $%s is %s", cijob.VarURL, e.quote(variable)), pointDirect)
	default:
		return f.Well(what)
	}
}

// sameServer compares a server with the text of another.
func sameServer(u *url.URL, other string) bool {
	return strings.TrimRight(u.String(), "/") == strings.TrimRight(other, "/")
}

// readTrust finds the CA and the proxy that belong to the chosen server. A Finding says why they cannot be used.
func (e *examination) readTrust(inContext bool) *Finding {
	unusable := func(what string, err error, do string) *Finding {
		e.target.url, e.target.why = nil, what
		return &Finding{Name: "server", State: Failure, What: what + ": " + err.Error(), Do: do}
	}
	cluster, ca := e.subject.cluster, e.CA
	switch {
	case ca != "":
	case !inContext:
		ca = e.Variables(cijob.VarCAFile)
	default:
		e.target.serverName, e.target.insecure = cluster.TLSServerName, cluster.InsecureSkipTLSVerify
		e.target.ca, ca = cluster.CertificateAuthorityData, cluster.CertificateAuthority
	}
	var err error
	if ca != "" && len(e.target.ca) == 0 {
		if e.target.ca, err = cijob.ReadCA(ca); err != nil {
			return unusable("the API server's CA cannot be read", err,
				"set "+cijob.VarCAFile+", a CI/CD variable of type file, to the cluster's CA in PEM")
		}
	}
	if e.target.proxy, err = e.proxyFor(cluster.ProxyURL); err != nil {
		return unusable("the proxy cannot be used", err, "correct HTTPS_PROXY, or proxy-url in the kubeconfig")
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

// Package doctor finds out, inside a CI job, why the job cannot use a cluster, and says what to do about it.
//
// It follows a request from its start: the job's variables and token, GitLab's answer about them, the kubeconfig, the network
// between runner and API server, and finally who the job is to the API server and what it may do there. Every check makes
// one Finding; a check that cannot be made says why. It asks only what any job may ask with its own token, it changes
// nothing, and every question has a limit in time and size.
//
// No part of a token is ever in a report. Text from elsewhere (names, messages, certificates) is quoted, made printable and
// cut.
package doctor

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/jobgate/jobgate/internal/cijob"
)

// Bounds of one question each, within the bound of the whole.
const (
	gitlabTimeout  = 10 * time.Second
	networkTimeout = 5 * time.Second
	apiTimeout     = 10 * time.Second
)

// Options are what is checked, and how the network is reached.
type Options struct {
	// Variables are the job's. Required.
	Variables cijob.Variables
	// Context is the kubeconfig's context to check; empty: that of AgentID, the current one, $JOBGATE_CONTEXT, or the only one.
	Context string
	// AgentID is the agent to check; 0: that of the context.
	AgentID int64
	// Server and CA replace the kubeconfig's; CA is a file or PEM. Empty: the kubeconfig's, or else $JOBGATE_URL and
	// $JOBGATE_CA_FILE.
	Server, CA string
	// Namespace is where rights are checked; empty: that of the context, or default.
	Namespace string
	// UserAgent names this program and version.
	UserAgent string

	// Resolver looks up names; net.DefaultResolver when nil.
	Resolver Resolver
	// Proxy names the proxy for a request; http.ProxyFromEnvironment when nil.
	Proxy func(*http.Request) (*url.URL, error)
	// Now is the clock for certificates and tokens; time.Now when nil.
	Now func() time.Time
}

// Resolver is the part of net.Resolver that is used.
type Resolver interface {
	LookupHost(ctx context.Context, host string) (addresses []string, err error)
}

// examination is what the checks have learned so far. Each check reads what earlier ones have stored.
type examination struct {
	Options
	report  *Report
	secrets []cijob.Token // that a report must not show

	job       cijob.Job
	malformed bool        // checkToken: the token must not leave the job
	gitlab    answer      // checkGitLab
	subject   subject     // checkKubeconfig
	agentID   int64       // checkKubeconfig, checkAgent; 0: unknown
	expects   expectation // checkAccess
	target    target      // checkServer
	network   network     // checkDNS, checkTCP, checkTLS
	api       *api        // checkIdentity; nil: the API server does not know the job
}

// Run makes every check, in the order of a request's path. It ends with ctx.
func Run(ctx context.Context, o Options) *Report {
	e := newExamination(o)
	for _, check := range []func(context.Context) Finding{
		e.checkVariables,
		e.checkToken,
		e.checkGitLab,
		e.checkJob,
		e.checkKubeconfig,
		e.checkIDToken,
		e.checkAgent,
		e.checkAccess,
		e.checkServer,
		e.checkDNS,
		e.checkTCP,
		e.checkTLS,
		e.checkIdentity,
		e.checkRights,
	} {
		if f := check(ctx); f.Name != "" { // one without a name does not concern this job
			e.report.Add(f.Clean(e.line))
		}
	}
	e.network.close()
	if e.api != nil {
		e.api.close()
	}
	return e.report
}

func newExamination(o Options) *examination {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	original := o.Variables
	e := &examination{Options: o, report: &Report{}}
	// checkVariables reports what is missing.
	e.job, _ = cijob.Read(original)
	e.secrets = []cijob.Token{e.job.Token}
	// Secrets go first, so that cutting or quoting later leaves no part of one.
	e.Variables = func(name string) string { return e.redact(original(name)) }
	return e
}

// Package check goes through an installation of jobgate on a control-plane node, and says what is wrong and what to do about it.
//
// It follows the way of a review: the configuration and the certificates, jobgate itself, GitLab behind it, kube-apiserver's
// flags before it, and then what the API server answers about a token and about a request. Every check makes one finding; a
// check that cannot be made says why. It changes nothing, and every question has a limit in time and size.
package check

import (
	"cmp"
	"context"
	"time"

	"k8s.io/client-go/rest"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/policy"
)

// askTimeout bounds one question to jobgate or to the API server. It outlasts the longest that jobgate may ask GitLab.
const askTimeout = 30 * time.Second

// Options are what is checked.
type Options struct {
	// ConfigFile is jobgate's configuration. Required.
	ConfigFile string
	// PKI is the directory with jobgate's private CA; empty if the certificates come from elsewhere.
	PKI string
	// Kubeconfig is the cluster administrator's; empty: the first of $KUBECONFIG and what control planes have.
	Kubeconfig string
	// Environment is the value of KUBECONFIG.
	Environment string
	// UserAgent names this program and version.
	UserAgent string
	// Root is where the node's files are; / when empty.
	Root string
}

// examination is what the checks have learned so far. Each check reads what earlier ones have stored.
type examination struct {
	Options
	config *config.Configuration // nil if it is not valid

	admin      *rest.Config // nil if there is no kubeconfig
	adminFile  string
	adminError error

	server   *install.APIServer // nil if there is none, or several
	webhooks webhooks
	// verifiesItself says that kube-apiserver verifies ID tokens, and does not ask jobgate about tokens.
	verifiesItself bool
}

// webhooks are the kubeconfigs with which kube-apiserver finds jobgate, as this node has them; empty: unknown.
type webhooks struct{ authenticate, authorize string }

// Run makes every check. It ends with ctx.
func Run(ctx context.Context, o Options) *findings.List {
	e := &examination{Options: o}
	e.Root = cmp.Or(o.Root, "/")
	e.findAdmin()
	report := &findings.List{}
	for _, check := range []func(context.Context) findings.Finding{
		e.checkConfiguration,
		e.checkCertificates,
		e.checkAddress,
		e.checkGitLab,
		e.checkAccessToken,
		e.checkFlags,
		e.checkConnection,
		e.checkLogin,
		e.checkRequest,
	} {
		report.Add(check(ctx).Clean(func(text string) string { return policy.Printable(text, findings.MaxLine) }))
	}
	return report
}

// whyNoConfig is why most checks cannot be made.
const whyNoConfig = "the configuration is not valid"

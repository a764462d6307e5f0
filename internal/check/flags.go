package check

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/file"
	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/install"
)

// maxAPIServerFile bounds an AuthorizationConfiguration and an AuthenticationConfiguration, in bytes.
const maxAPIServerFile = 1 << 20

// structuredFlag names kube-apiserver's AuthenticationConfiguration.
const structuredFlag = "authentication-config"

// longestTTL is how long kube-apiserver should keep an answer about a token, at most.
const longestTTL = 10 * time.Second

// defaultTTL is what it does without the flag.
const defaultTTL = 2 * time.Minute

// checkFlags looks at how kube-apiserver was started.
func (e *examination) checkFlags(context.Context) findings.Finding {
	f := findings.Finding{Name: "apiserver"}
	server, why := e.findServer()
	if server == nil {
		e.webhooks = e.besideConfiguration()
		return f.NotChecked(why)
	}
	e.server = server
	p := &problems{}
	e.checkTokens(p)
	e.checkAuthorizers(p)
	f.Details = slices.Concat(p.failures, p.warnings)
	switch {
	case len(p.failures) > 0:
		return f.Failed("kube-apiserver ("+server.From+") is not set up to ask jobgate",
			"give it the flags and files that jobgate init prints, and restart it")
	case len(p.warnings) > 0:
		return f.Warned("kube-apiserver ("+server.From+") asks jobgate, but not as it should",
			"give it the flags and files that jobgate init prints, and restart it")
	}
	if e.verifiesItself {
		return f.Well("kube-apiserver (" + server.From + ") verifies GitLab's ID tokens by itself, and jobgate comes before RBAC")
	}
	return f.Well("kube-apiserver (" + server.From + ") has the flags, and jobgate comes before RBAC")
}

// problems are lines of a finding.
type problems struct{ failures, warnings []string }

func (p *problems) fail(format string, args ...any) {
	p.failures = append(p.failures, fmt.Sprintf(format, args...))
}

func (p *problems) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// findServer finds this node's kube-apiserver. Of several it takes the one that the administrator's kubeconfig names.
func (e *examination) findServer() (server *install.APIServer, why string) {
	all, err := install.FindAPIServers(e.Root)
	switch {
	case err != nil:
		return nil, "this node's kube-apiserver cannot be looked at: " + err.Error()
	case len(all) == 0:
		return nil, "there is no static pod or process kube-apiserver on this node; the findings below show whether it asks jobgate"
	case len(all) == 1:
		return all[0], ""
	}
	if e.admin != nil {
		if u, err := url.Parse(e.admin.Host); err == nil {
			for _, one := range all {
				if one.Port() == u.Port() {
					return one, ""
				}
			}
		}
	}
	return nil, fmt.Sprintf("%d processes kube-apiserver run on this node; --kubeconfig says which one", len(all))
}

// checkTokens wants jobgate to be the webhook for tokens, or kube-apiserver to verify GitLab's ID tokens by itself. It can do
// both; only then a webhook that is not jobgate is no fault.
func (e *examination) checkTokens(p *problems) {
	structured, err := e.hasStructuredAuthentication()
	if err != nil {
		p.fail("--%s: %v", structuredFlag, err)
	}
	webhook := &problems{}
	e.checkTokenFlags(webhook)
	if structured && len(webhook.failures) > 0 {
		e.verifiesItself, e.webhooks.authenticate = true, ""
		return
	}
	p.failures, p.warnings = append(p.failures, webhook.failures...), append(p.warnings, webhook.warnings...)
}

// hasStructuredAuthentication says whether kube-apiserver verifies the ID tokens of the configuration's issuer by itself
// (docs/structured-authentication.md).
func (e *examination) hasStructuredAuthentication() (bool, error) {
	name := e.server.Flags[structuredFlag]
	if name == "" || e.config == nil {
		return false, nil
	}
	text, err := file.Read(e.server.OnNode(name), maxAPIServerFile)
	if err != nil {
		return false, err
	}
	var c struct {
		JWT []struct {
			Issuer struct {
				URL string `json:"url"`
			} `json:"issuer"`
		} `json:"jwt"`
	}
	// What else is in it is checked by kube-apiserver, which does not start with a wrong one.
	if err := yaml.Unmarshal(text, &c); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	issuer := cmp.Or(e.config.IDTokens.Issuer, e.config.GitLab.URL)
	for _, one := range c.JWT {
		if one.Issuer.URL == issuer {
			return true, nil
		}
	}
	return false, nil
}

func (e *examination) checkTokenFlags(p *problems) {
	flags := e.server.Flags
	if name := flags[install.WebhookFileFlag]; name == "" {
		p.fail("--%s is not set, so kube-apiserver does not know any job", install.WebhookFileFlag)
	} else {
		e.webhooks.authenticate = name
		e.checkTarget(p, install.WebhookFileFlag, name, "/authenticate")
	}
	if version := flags[install.WebhookVersionFlag]; version != "v1" {
		p.warn("--%s is %q, and should be v1", install.WebhookVersionFlag, version)
	}
	ttl, err := time.ParseDuration(flags[install.WebhookTTLFlag])
	if err != nil {
		ttl = defaultTTL
	}
	if ttl > longestTTL {
		p.warn("--%s is %s: a job that has ended keeps its access for so long; it should be %s", install.WebhookTTLFlag, ttl, longestTTL)
	}
}

func (e *examination) checkAuthorizers(p *problems) {
	name := e.server.Flags[install.AuthorizersFlag]
	if name == "" {
		p.fail("--%s is not set, so kube-apiserver does not ask jobgate about requests", install.AuthorizersFlag)
		return
	}
	text, err := file.Read(e.server.OnNode(name), maxAPIServerFile)
	if err != nil {
		p.fail("--%s: %v", install.AuthorizersFlag, err)
		return
	}
	webhook, err := install.JobgateWebhook(text)
	if err != nil {
		p.fail("%s: %v", name, err)
		return
	}
	if webhook.FailurePolicy != apiserver.FailurePolicyDeny {
		p.warn("%s: failurePolicy is %q: if jobgate is away, jobs may do what it would deny; it should be Deny", name, webhook.FailurePolicy)
	}
	if kubeconfig := webhook.ConnectionInfo.KubeConfigFile; kubeconfig == nil {
		p.fail("%s: jobgate has no kubeConfigFile", name)
	} else {
		e.webhooks.authorize = *kubeconfig
		e.checkTarget(p, name, *kubeconfig, "/authorize")
	}
}

// checkTarget says whether a webhook's kubeconfig leads to the address of the configuration.
func (e *examination) checkTarget(p *problems, from, name, path string) {
	config, err := readKubeconfig(name, e.onNode)
	if err != nil {
		p.fail("%s: %v", from, err)
		return
	}
	if e.config == nil {
		return
	}
	want := url.URL{Scheme: "https", Host: install.DialAddress(e.config.Serving.Address), Path: path}
	got, err := url.Parse(config.Host)
	switch {
	case err != nil || got.Scheme != want.Scheme || got.Path != want.Path || got.Port() != want.Port():
		p.fail("%s: the server is %s, and jobgate is at %s", name, config.Host, want.String())
	case got.Host != want.Host:
		p.warn("%s: the server is %s, and this node's jobgate is at %s", name, config.Host, want.String())
	}
}

// onNode is where this node has a file of kube-apiserver's.
func (e *examination) onNode(name string) string {
	if e.server == nil {
		return name
	}
	return e.server.OnNode(name)
}

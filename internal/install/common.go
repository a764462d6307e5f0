package install

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/manifests"
)

// clientName is kube-apiserver's name in its certificate.
const clientName = "kube-apiserver"

// shippedKubeconfig is the only value in the shipped AuthorizationConfiguration that differs between clusters.
const shippedKubeconfig = "/etc/kubernetes/jobgate/authorize.kubeconfig"

const fileMode = 0o644

// errNoText is for a value that does not fit on one line of text.
var errNoText = errors.New("it has control characters, or is not UTF-8")

// Plan is everything for one control plane.
type Plan struct {
	Files []File // by path
	Flags []Flag
	Steps []Step
}

// New renders everything for the options' target.
func New(o Options) (*Plan, error) {
	target, err := Lookup(o.Target)
	if err != nil {
		return nil, err
	}
	files, err := Common(o)
	if err != nil {
		return nil, err
	}
	d, err := target.Deploy(o)
	if err != nil {
		return nil, err
	}
	files = append(files, d.Files...)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return &Plan{Files: files, Flags: APIServerFlags(o.NodeDir), Steps: d.Steps}, nil
}

// Common are the files that every target has: jobgate's configuration, the kubeconfigs with which kube-apiserver finds jobgate,
// and the authorizers. A mistake in the configuration is a *config.Error, one in the authorizers an *AuthorizersError.
func Common(o Options) ([]File, error) {
	configuration, configErr := renderConfig(o)
	authorizers, authorizersErr := renderAuthorizers(o)
	if err := errors.Join(configErr, authorizersErr); err != nil {
		return nil, err
	}
	files := []File{
		{ConfigFile, configuration, fileMode},
		{AuthenticateFile, renderKubeconfig(o, "/authenticate"), fileMode},
		{AuthorizeFile, renderKubeconfig(o, "/authorize"), fileMode},
		{AuthorizationFile, authorizers, fileMode},
	}
	if len(o.GitLabCA) > 0 {
		files = append(files, File{GitLabCAFile, o.GitLabCA, fileMode})
	}
	return files, nil
}

// renderConfig writes the configuration for a person to read and change, and reads it as jobgate serve will.
func renderConfig(o Options) ([]byte, error) {
	var text strings.Builder
	var strange error
	quoted := func(key, value string) string {
		inYAML, err := scalar(value)
		if err != nil {
			strange = errors.Join(strange, &optionError{flagOf(key), err}) // without the value, which may be a secret
		}
		return inYAML
	}
	line := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	line(config.Modeline)
	line("# jobgate's configuration. jobgate init wrote it, and keeps what you change. A change takes effect within a second; one")
	line("# under serving, or of gitlab.url, needs a restart. File names are relative to this folder. Check it with")
	line("#     jobgate config validate %s", path.Join(o.NodeDir, ConfigFile))
	line("apiVersion: %s", config.APIVersion)
	line("kind: %s", config.Kind)
	line("gitlab:")
	line("  url: %s", quoted("gitlab.url", o.GitLabURL))
	if strings.HasPrefix(strings.ToLower(o.GitLabURL), "http:") {
		line("  allowPlainHTTP: true      # job tokens travel unencrypted")
	}
	if len(o.GitLabCA) > 0 {
		line("  caFile: %s", GitLabCAFile)
	}
	if o.GitLabTokenFile != "" {
		line("  tokenFile: %s      # an access token with the scope read_api", quoted("gitlab.tokenFile", o.GitLabTokenFile))
	}
	renderAdmission(o, line, quoted)
	serving := path.Join(PKIDir, certs.ServingFile)
	line("serving:")
	line("  address: %s", quoted("serving.address", o.Address))
	line("  healthAddress: %s      # plain HTTP: /livez /readyz /metrics", quoted("serving.healthAddress", o.HealthAddress))
	if o.Second {
		line("  reusePort: true      # two instances share the address; the second one serves health on the next port")
	}
	line("  certFile: %s      # certificate and key in one file; jobgate serve --pki renews it", serving)
	line("  keyFile: %s", serving)
	line("  clientCAFile: %s", path.Join(PKIDir, certs.CAFile))
	line("  clientNames: [%s]", clientName)
	if strange != nil {
		return nil, strange
	}
	_, err := config.Parse(ConfigFile, []byte(text.String()))
	return []byte(text.String()), err
}

// renderAdmission writes which jobs the cluster admits.
func renderAdmission(o Options, line func(string, ...any), quoted func(key, value string) string) {
	if len(o.Agents) > 0 {
		line("# The agents that represent this cluster. A job that names another agent is refused.")
		line("agents:")
	}
	for _, a := range o.Agents {
		line("- id: %d", a.ID)
		if a.Name != "" {
			line("  name: %s", quoted("agents.name", a.Name))
		}
	}
	g := &o.Grant
	if g.Cluster == "" || len(g.Projects)+len(g.Groups) == 0 {
		return
	}
	line("cluster:")
	line("  name: %s      # jobs log in by this name; a change needs a restart", quoted("cluster.name", g.Cluster))
	line("# Jobs of these projects and groups log in without an agent. require can narrow it: refs, environments, tiers, roles.")
	line("grants:")
	line("- name: %s", quoted("cluster.name", g.Cluster))
	for _, list := range []struct {
		key string
		ids []int64
	}{{"projects", g.Projects}, {"groups", g.Groups}} {
		if len(list.ids) > 0 {
			line("  %s: %s", list.key, strings.ReplaceAll(fmt.Sprint(list.ids), " ", ", "))
		}
	}
	if g.Audience != "" {
		line("# ID tokens of GitLab that name this audience alone are accepted, too.")
		line("idTokens:")
		line("  audience: %s", quoted("idTokens.audience", g.Audience))
	}
}

// scalar is a string as YAML writes it on one line, in quotes if it needs them.
func scalar(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
		return "", errNoText
	}
	text, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s})
	return strings.TrimSuffix(string(text), "\n"), err
}

// renderKubeconfig is the kubeconfig with which kube-apiserver finds jobgate. client-go reads file names relative to its folder.
func renderKubeconfig(o Options, endpoint string) []byte {
	return fmt.Appendf(nil, `# For kube-apiserver: where jobgate is, and with which certificates they know each other. This file has no secret.
apiVersion: v1
kind: Config
current-context: jobgate
contexts:
- name: jobgate
  context: {cluster: jobgate, user: %[4]s}
clusters:
- name: jobgate
  cluster:
    server: https://%[1]s%[2]s
    certificate-authority: %[3]s/%[5]s
users:
- name: %[4]s
  user:
    client-certificate: %[3]s/%[6]s      # certificate and key in one file
    client-key: %[3]s/%[6]s
`, DialAddress(o.Address), endpoint, PKIDir, clientName, certs.CAFile, certs.ClientFile)
}

// DialAddress is where a program on the same node reaches one that listens on an address.
func DialAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && ip == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// renderAuthorizers is the shipped file, or the cluster's own with jobgate in it.
func renderAuthorizers(o Options) ([]byte, error) {
	text, err := manifests.Files.ReadFile(manifests.Authorization)
	if err != nil {
		return nil, fmt.Errorf("read the program's own files: %w", err)
	}
	if n := bytes.Count(text, []byte(shippedKubeconfig)); n != 1 {
		return nil, fmt.Errorf("%s names %s %d times, not once", manifests.Authorization, shippedKubeconfig, n)
	}
	text = bytes.Replace(text, []byte(shippedKubeconfig), []byte(path.Join(o.NodeDir, AuthorizeFile)), 1)
	if len(o.Authorizers) == 0 {
		return text, nil
	}
	return MergeAuthorizers(o.Authorizers, text)
}

package install

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/cert"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/file"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// maxInputBytes bounds a file that a flag names: as a configuration file.
const maxInputBytes = 1 << 20

// leastPort is the first that a process without capabilities may listen on.
const leastPort = 1024

// Input is the command line, unchecked. Its fields are those of Options and Setup.
type Input struct {
	Target, Dir, NodeDir    string
	GitLabURL, GitLabCAFile string
	AllowPlainHTTP          bool
	Agents                  []string // ID or ID=path/to/project:name
	Grant                   Grant
	GitLabTokenFile         string // on the node
	AuthorizersFile         string
	ClusterConfigFile       string // for kubeadm
	Hosts                   []string
	Address, HealthAddress  string
	Instances               int // of jobgate on a node: 1 or 2
	DecisionLog             bool
	Image, Binary, Program  string
	KeepMine, TakeNew       bool
	// Root is where the node's files are; empty for /.
	Root string

	problems []error
	flagged  map[string]bool // the flags among problems
	asked    bool            // the cluster, for its ClusterConfiguration
}

// Setup checks everything, and looks for the cluster whose control-plane node this is. The error lists all that is wrong, each
// with its flag.
func (in *Input) Setup(ctx context.Context) (*Setup, error) {
	in.problems, in.flagged = nil, map[string]bool{}
	s := &Setup{Options: Options{
		Target: in.Target, GitLabURL: in.GitLabURL, Address: in.Address, HealthAddress: in.HealthAddress,
		Image: in.Image, Binary: in.Binary, Program: in.Program, Second: in.Instances == 2, DecisionLog: in.DecisionLog,
	}}
	in.target(s)
	in.instances(s)
	in.directories(s)
	in.admission(s)
	in.tokenFile(s)
	s.Options.GitLabCA = in.gitLabCA()
	s.Options.Authorizers = in.readFile(authorizersFlag, in.AuthorizersFile)
	s.Options.ClusterConfiguration = in.readFile(clusterFlag, in.ClusterConfigFile)
	if s.target.TakesClusterConfiguration {
		in.lookAround(ctx, s)
	} else if in.ClusterConfigFile != "" && s.target.Name != "" {
		in.refuse(clusterFlag, "is kubeadm's, and not for --target %s", in.Target)
	}
	in.addresses()
	s.Hosts = in.hosts()
	if strings.HasPrefix(strings.ToLower(in.GitLabURL), "http:") && !in.AllowPlainHTTP {
		in.refuse("--gitlab-url", "with http, job tokens travel unencrypted: use https, or add --allow-plain-http")
	}
	switch {
	case in.KeepMine && in.TakeNew:
		in.refuse("--keep", "cannot be used with --force")
	case in.KeepMine:
		s.Policy = conffile.KeepMine
	case in.TakeNew:
		s.Policy = conffile.TakeNew
	}
	in.render(s)
	if len(in.problems) > 0 {
		return nil, errors.Join(in.problems...)
	}
	return s, nil
}

func (in *Input) refuse(flag, format string, args ...any) {
	in.flagged[flag] = true
	in.problems = append(in.problems, fmt.Errorf(flag+": "+format, args...))
}

func (in *Input) target(s *Setup) {
	var err error
	if s.target, err = Lookup(in.Target); err != nil {
		in.refuse("--target", "%w", err)
		return
	}
	if s.target.User == "" && in.Image == "" {
		in.refuse("--image", "this jobgate is not a release, so it does not know its image: name one, as in %s", shownImage)
	}
}

func (in *Input) instances(s *Setup) {
	const flag = "--instances"
	switch {
	case in.Instances != 1 && in.Instances != 2:
		in.refuse(flag, "must be 1 or 2, and not %d", in.Instances)
	case s.Options.Second && !s.target.TakesSecond && s.target.Name != "":
		in.refuse(flag, "2 is not for --target %s", in.Target)
	}
	if in.DecisionLog && !s.target.TakesDecisionLog && s.target.Name != "" {
		in.refuse("--decision-log", "is not for --target %s: add the flag and a folder that jobgate may write to by hand", in.Target)
	}
}

// directories sets Dir and NodeDir.
func (in *Input) directories(s *Setup) {
	nodeDir := cmp.Or(in.NodeDir, s.target.NodeDir, DefaultNodeDir)
	switch {
	case !path.IsAbs(nodeDir) || path.Clean(nodeDir) != nodeDir || nodeDir == "/":
		in.refuse("--node-dir", "%q must be an absolute path in its shortest form, as in %s", nodeDir, DefaultNodeDir)
	case checkPlain("path", nodeDir, "/._-") != nil:
		in.refuse("--node-dir", "%q must have only letters, digits and /._-", nodeDir)
	}
	dir := in.Dir
	if dir == "" && s.target.Dir == "" {
		dir = nodeDir
	} else if dir == "" {
		dir = s.target.Dir
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		in.refuse("--dir", "%w", err)
	}
	s.Options.Dir, s.Options.NodeDir = dir, nodeDir
}

// gitLabCA reads the bundle, which every user of the node may then read.
func (in *Input) gitLabCA() []byte {
	const flag = "--gitlab-ca"
	text := in.readFile(flag, in.GitLabCAFile)
	if text == nil {
		return nil
	}
	if _, err := cert.ParseCertsPEM(text); err != nil {
		in.refuse(flag, "%s: %w", in.GitLabCAFile, err)
	}
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		in.refuse(flag, "%s: it has a private key, and every user could read the copy: give a file with certificates alone",
			in.GitLabCAFile)
	}
	return text
}

// readFile returns nil for no name, and never for a file that it could read.
func (in *Input) readFile(flag, name string) []byte {
	if name == "" {
		return nil
	}
	text, err := file.Read(name, maxInputBytes)
	if err != nil {
		in.refuse(flag, "%w", err)
	} else if len(text) == 0 {
		in.refuse(flag, "%s: the file is empty", name)
	}
	return text
}

// addresses checks what the configuration allows: a port of 0, which kube-apiserver could not find, and ports that need root.
func (in *Input) addresses() {
	port := in.port("--address", in.Address)
	health := in.port("--health-address", in.HealthAddress)
	switch {
	case port == 0 || health == 0:
	case port == health:
		in.refuse("--health-address", "has the same port as --address, %d", port)
	case in.Instances == 2 && port == health+1:
		in.refuse("--health-address", "the next port is for the health of the second instance, and --address has it: %d", port)
	}
}

func (in *Input) port(flag, address string) int {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		in.refuse(flag, "%q is not host:port", address)
		return 0
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < leastPort || port > 65535 {
		in.refuse(flag, "%q has no port from %d to 65535: jobgate does not run as root", address, leastPort)
		return 0
	}
	return port
}

// hosts are the names and addresses that the serving certificate needs besides those of loopback.
func (in *Input) hosts() []string {
	var hosts []string
	add := func(host string) {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if host, _, err := net.SplitHostPort(in.Address); err == nil && host != "" && host != "localhost" {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() && !ip.IsLoopback() {
			add(host)
		}
	}
	for _, host := range in.Hosts {
		if _, err := netip.ParseAddr(host); err != nil && len(validation.IsDNS1123Subdomain(host)) > 0 {
			in.refuse("--host", "%q is neither an IP address nor a DNS name", host)
		}
		add(host)
	}
	return hosts
}

// render makes all files once, to find the mistakes that only this finds, and names the flags that they come from.
func (in *Input) render(s *Setup) {
	o := s.Options
	o.PKI = map[string][]byte{}
	for _, name := range pkiFiles() {
		o.PKI[name] = []byte(notIssued)
	}
	_, err := Common(o)
	in.explain(maps.Clone(in.flagged), err)
	if s.target.Deploy != nil {
		_, err = s.target.Deploy(o)
		in.explain(maps.Clone(in.flagged), err)
	}
}

// explain names the flag that an error comes from, unless the flag is known to be wrong.
func (in *Input) explain(known map[string]bool, err error) {
	refuse := func(flag, format string, args ...any) {
		if !known[flag] {
			in.refuse(flag, format, args...)
		}
	}
	switch e := err.(type) { //nolint:errorlint // errors.As would find the first of several
	case nil:
	case *AuthorizersError:
		refuse(authorizersFlag, "%s: %w", in.AuthorizersFile, e)
	case *ClusterConfigurationError:
		in.explainCluster(e)
	case *optionError:
		refuse(e.flag, "%w", e.err)
	case *config.Error:
		for _, p := range e.Problems {
			refuse(flagOf(p.Path), "%s", p.Message)
		}
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			in.explain(known, one)
		}
	default:
		in.problems = append(in.problems, err)
	}
}

func (in *Input) explainCluster(err error) {
	name, export := in.ClusterConfigFile, ""
	if in.asked {
		name, export = "the ConfigMap kubeadm-config", ExportClusterConfiguration()+"\n"
	}
	if !errors.Is(err, errOldVersion) {
		in.refuse(clusterFlag, "%s: %w", name, err)
		return
	}
	given := cmp.Or(in.ClusterConfigFile, kubeadmExported)
	in.refuse(clusterFlag, "%s: %w; convert it, and give the new file:\n%skubeadm config migrate --old-config=%s --new-config=%s",
		name, err, export, given, strings.TrimSuffix(given, ".yaml")+"-v1beta4.yaml")
}

// flagOf is the flag that a key of the configuration comes from; the key where there is none.
func flagOf(key string) string {
	for prefix, flag := range map[string]string{
		"gitlab.url": "--gitlab-url", "agents": "--agent", "serving.address": "--address",
		"serving.healthAddress": "--health-address", "cluster.name": "--cluster", "grants[0].projects": "--grant-project",
		"grants[0].groups": "--grant-group", "gitlab.tokenFile": tokenFileFlag, "idTokens.audience": audienceFlag,
	} {
		if strings.HasPrefix(key, prefix) {
			return flag
		}
	}
	return key
}

package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/cert"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// maxInputBytes bounds a file that a flag names: as a configuration file.
const maxInputBytes = 1 << 20

// leastPort is the first that a process without capabilities may listen on.
const leastPort = 1024

// Input is what stands on the command line, unchecked. Its fields are those of Options and Setup.
type Input struct {
	Target, Dir, NodeDir    string
	GitLabURL, GitLabCAFile string
	AllowPlainHTTP          bool
	Agents                  []string // ID or ID=path/to/project:name
	AuthorizersFile         string
	ClusterConfigFile       string // for kubeadm
	Hosts                   []string
	Address, HealthAddress  string
	Image, Binary, Program  string
	KeepMine, TakeNew       bool
	problems                []error
}

// Setup checks everything. The error lists all that is wrong, each with its flag.
func (in *Input) Setup() (*Setup, error) {
	in.problems = nil
	target, err := Lookup(in.Target)
	if err != nil {
		return nil, fmt.Errorf("--target: %w", err)
	}
	s := &Setup{target: target, Options: Options{
		Target: in.Target, GitLabURL: in.GitLabURL, Address: in.Address, HealthAddress: in.HealthAddress,
		Image: in.Image, Binary: in.Binary, Program: in.Program,
	}}
	in.directories(s)
	s.Options.Agents = in.agents()
	s.Options.GitLabCA = in.gitLabCA()
	s.Options.Authorizers = in.readFile("--authorization-config", in.AuthorizersFile)
	s.Options.ClusterConfiguration = in.readFile("--cluster-configuration", in.ClusterConfigFile)
	if in.ClusterConfigFile != "" && !s.target.TakesClusterConfiguration {
		in.refuse("--cluster-configuration", "is kubeadm's, and not for --target %s", in.Target)
	}
	in.addresses()
	s.Hosts = in.hosts()
	if strings.HasPrefix(strings.ToLower(in.GitLabURL), "http:") && !in.AllowPlainHTTP {
		in.refuse("--gitlab-url", "http shows every job token to whoever sees the traffic: give https, or --allow-plain-http, too")
	}
	switch {
	case in.KeepMine && in.TakeNew:
		in.refuse("--keep", "not together with --force")
	case in.KeepMine:
		s.Policy = conffile.KeepMine
	case in.TakeNew:
		s.Policy = conffile.TakeNew
	}
	if len(in.problems) > 0 {
		return nil, errors.Join(in.problems...)
	}
	return s, in.render(s.Options)
}

func (in *Input) refuse(flag, format string, args ...any) {
	in.problems = append(in.problems, fmt.Errorf(flag+": "+format, args...))
}

// directories sets Dir and NodeDir.
func (in *Input) directories(s *Setup) {
	nodeDir := in.NodeDir
	if nodeDir == "" {
		nodeDir = s.target.NodeDir
	}
	switch {
	case !path.IsAbs(nodeDir) || path.Clean(nodeDir) != nodeDir || nodeDir == "/":
		in.refuse("--node-dir", "%q is not an absolute path as it is written shortest, as in %s", nodeDir, s.target.NodeDir)
	case checkPlain("path", nodeDir, "/._-") != nil:
		in.refuse("--node-dir", "%q has more in it than letters, digits and /._-", nodeDir)
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

func (in *Input) agents() []Agent {
	if len(in.Agents) == 0 {
		in.refuse("--agent", "at least one is needed: the id of a GitLab agent that stands for this cluster")
	}
	var agents []Agent
	for _, text := range in.Agents {
		digits, name, named := strings.Cut(text, "=")
		id, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case err != nil || id < 1 || strconv.FormatInt(id, 10) != digits:
			in.refuse("--agent", "%q does not begin with an id from 1 to 9223372036854775807, as in 4 or 4=path/to/project:name", text)
		case named && name == "":
			in.refuse("--agent", "%q has no name behind the =", text)
		case slices.ContainsFunc(agents, func(a Agent) bool { return a.ID == id }):
			in.refuse("--agent", "%d is given twice", id)
		}
		agents = append(agents, Agent{ID: id, Name: name})
	}
	return agents
}

// gitLabCA reads the bundle, which everybody on the node may then read.
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
		in.refuse(flag, "%s: there is a private key in it, and everybody may read what is made of it: give the certificates alone",
			in.GitLabCAFile)
	}
	return text
}

// readFile returns nil for no name, and never for a file that it could read.
func (in *Input) readFile(flag, name string) []byte {
	if name == "" {
		return nil
	}
	text, err := readRegular(name)
	if err != nil {
		in.refuse(flag, "%w", err)
	} else if len(text) == 0 {
		in.refuse(flag, "%s: the file is empty", name)
	}
	return text
}

func readRegular(name string) ([]byte, error) {
	// Asked first, because to open a pipe may take for ever.
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxInputBytes+1))
	if err == nil && len(text) > maxInputBytes {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxInputBytes)
	}
	return text, err
}

// addresses checks what config does not mind: a port of 0, which nobody would find, and ports that jobgate may not have.
func (in *Input) addresses() {
	_, port := in.port("--address", in.Address)
	_, health := in.port("--health-address", in.HealthAddress)
	if port != 0 && port == health {
		in.refuse("--health-address", "has the same port as --address, %d", port)
	}
}

func (in *Input) port(flag, address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		in.refuse(flag, "%q is not host:port", address)
		return "", 0
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < leastPort || port > 65535 {
		in.refuse(flag, "%q has no port from %d to 65535: jobgate does not run as root", address, leastPort)
		return host, 0
	}
	return host, port
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

// render makes all files once, to find what only that finds, and says it in terms of flags.
func (in *Input) render(o Options) error {
	o.PKI = map[string][]byte{}
	for _, name := range pkiFiles() {
		o.PKI[name] = []byte(notIssued)
	}
	_, err := New(o)
	if err == nil {
		return nil
	}
	var authorizers *AuthorizersError
	if errors.As(err, &authorizers) {
		in.refuse("--authorization-config", "%s: %w", in.AuthorizersFile, authorizers)
	}
	var cluster *ClusterConfigurationError
	if errors.As(err, &cluster) {
		in.refuse("--cluster-configuration", "%s: %w", in.ClusterConfigFile, cluster)
	}
	var configuration *config.Error
	if errors.As(err, &configuration) {
		for _, p := range configuration.Problems {
			in.refuse(flagOf(p.Path), "%s", p.Message)
		}
	}
	if len(in.problems) > 0 {
		return errors.Join(in.problems...)
	}
	return err
}

// flagOf is the flag that a key of the configuration comes from; the key where there is none.
func flagOf(key string) string {
	for prefix, flag := range map[string]string{
		"gitlab.url": "--gitlab-url", "agents": "--agent", "serving.address": "--address",
		"serving.healthAddress": "--health-address",
	} {
		if strings.HasPrefix(key, prefix) {
			return flag
		}
	}
	return key
}

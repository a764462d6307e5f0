package install_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/pkitest"
)

// input is a command line without mistakes, whose folder is in dir.
func input(dir string) install.Input {
	return install.Input{
		Target: "systemd", NodeDir: filepath.Join(dir, "jobgate"), GitLabURL: "https://gitlab.example.com", Agents: []string{"4"},
		Address: "127.0.0.1:9443", HealthAddress: "127.0.0.1:9444", Instances: 1, Image: "ghcr.io/jobgate/jobgate:v1.2.3",
		Binary: "/usr/local/bin/jobgate", Program: "/usr/local/bin/jobgate", Root: dir,
	}
}

func write(t *testing.T, file, content string) string {
	t.Helper()
	must(t, os.WriteFile(file, []byte(content), 0o644))
	return file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// certificate is a file with a CA's certificate.
func certificate(t *testing.T, dir string) string {
	t.Helper()
	authority, err := pkitest.NewAuthority("gitlab")
	must(t, err)
	file, err := authority.WriteCertificate(dir, "gitlab-ca")
	must(t, err)
	return file
}

// second asks for two instances.
func second(target, healthAddress string) func(*testing.T, *install.Input, string) {
	return func(_ *testing.T, in *install.Input, _ string) {
		in.Target, in.HealthAddress, in.Instances = target, healthAddress, 2
	}
}

func TestInput_RefusesBeforeAnythingIsWritten(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, in *install.Input, dir string)
		want   string
	}{
		{"target", func(_ *testing.T, in *install.Input, _ string) { in.Target = "kubeadmin" }, `--target: unknown target "kubeadmin": it must be one of kubeadm, k3s,`},
		{"no agent", func(_ *testing.T, in *install.Input, _ string) { in.Agents = nil }, "--agent: at least one is required"},
		{"grant without a cluster", grant(install.Grant{Projects: []int64{150}}), "--cluster: is required with --grant-project"},
		{"cluster without a grant", grant(install.Grant{Cluster: "prod"}), "--cluster: needs --grant-project or --grant-group"},
		{"cluster that is no label", grant(install.Grant{Cluster: "Prod", Projects: []int64{150}}), "--cluster: "},
		{"project 0", grant(install.Grant{Cluster: "prod", Projects: []int64{0}}), "--grant-project: "},
		{"negative group", grant(install.Grant{Cluster: "prod", Groups: []int64{-1}}), "--grant-group: "},
		{"audience without a grant", func(_ *testing.T, in *install.Input, _ string) {
			in.Grant.Audience, in.GitLabTokenFile = "a", in.NodeDir+"/token"
		}, "--id-token-audience: needs --cluster"},
		{"audience without an access token", grant(install.Grant{Cluster: "prod", Projects: []int64{150}, Audience: "a"}),
			"--gitlab-token-file: is required with --id-token-audience"},
		{"relative token file", func(_ *testing.T, in *install.Input, _ string) { in.GitLabTokenFile = "token" }, "--gitlab-token-file: "},
		{"token file that no container sees", func(_ *testing.T, in *install.Input, _ string) {
			in.Target, in.GitLabTokenFile = "k3s", "/root/token"
		}, `--gitlab-token-file: "/root/token" must be in `},
		{"agent 0", agents("0"), `--agent: "0" must begin with an id`},
		{"agent with a leading zero", agents("04"), `--agent: "04" must begin with an id`},
		{"agent with a sign", agents("+4"), `--agent: "+4" must begin with an id`},
		{"negative agent", agents("-4"), `--agent: "-4" must begin with an id`},
		{"agent with a blank", agents(" 4"), `--agent: " 4" must begin with an id`},
		{"agent of 64 bits", agents("9223372036854775808"), `--agent: "9223372036854775808" must begin with an id`},
		{"agent by name", agents("path/to/project:name"), "--agent: "},
		{"empty name", agents("4="), `--agent: "4=" has no name after the =`},
		{"name without a project", agents("4=name"), `--agent: must be as in path/to/project:agent-name, not "name"`},
		{"name of two lines", agents("4=a:b\nc"), "it has control characters"},
		{"name that is no text", agents("4=a:\xff"), "is not UTF-8"},
		{"URL of two lines", url("https://gitlab.example.com\n- id: 5"), "it has control characters"},
		{"agent twice", agents("4", "5", "4=a:b"), "--agent: 4 is given twice"},
		{"no URL", url(""), "--gitlab-url: is required"},
		{"URL without a scheme", url("gitlab.example.com"), "--gitlab-url: "},
		{"URL with a user", url("https://a:b@gitlab.example.com"), "--gitlab-url: must have no user information"},
		{"plain HTTP", url("http://gitlab.example.com"), "--gitlab-url: with http, job tokens travel"},
		{"plain HTTP in capitals", url("HTTP://gitlab.example.com"), "--gitlab-url: with http, job tokens travel"},
		{"relative node-dir", func(_ *testing.T, in *install.Input, _ string) { in.NodeDir = "jobgate" }, "--node-dir: "},
		{"node-dir with ..", func(_ *testing.T, in *install.Input, _ string) { in.NodeDir = "/etc/../jobgate" }, "--node-dir: "},
		{"node-dir /", func(_ *testing.T, in *install.Input, _ string) { in.NodeDir = "/" }, "--node-dir: "},
		{"node-dir with a blank", func(_ *testing.T, in *install.Input, _ string) { in.NodeDir = "/etc/job gate" }, "--node-dir: "},
		{"node-dir in a home", func(_ *testing.T, in *install.Input, _ string) { in.NodeDir = "/home/jobgate" }, "--node-dir: /home/jobgate: it is in a folder of users"},
		{"relative binary", func(_ *testing.T, in *install.Input, _ string) { in.Binary = "jobgate" }, "--binary: jobgate: it is not an absolute path"},
		{"binary in a home", func(_ *testing.T, in *install.Input, _ string) { in.Binary = "/root/jobgate" }, "--binary: /root/jobgate: it is in a folder of users"},
		{"address without a port", address("127.0.0.1"), `--address: "127.0.0.1" is not host:port`},
		{"address with port 0", address("127.0.0.1:0"), `--address: "127.0.0.1:0" has no port from 1024 to 65535`},
		{"address with a low port", address("127.0.0.1:443"), `--address: "127.0.0.1:443" has no port from 1024 to 65535`},
		{"address with a strange host", address("a_b:9443"), `--address: must have an IP address or a DNS name as host, not "a_b:9443"`},
		{"the port twice", address("0.0.0.0:9444"), "--health-address: has the same port as --address, 9444"},
		{"no instance", func(_ *testing.T, in *install.Input, _ string) { in.Instances = 0 }, "--instances: must be 1 or 2, and not 0"},
		{"three instances", func(_ *testing.T, in *install.Input, _ string) { in.Instances = 3 }, "--instances: must be 1 or 2, and not 3"},
		{"two instances where a DaemonSet runs them", second("kustomize", "127.0.0.1:9444"), "--instances: 2 is not for --target kustomize"},
		{"a decision log where the nodes have no shell", func(_ *testing.T, in *install.Input, _ string) { in.Target, in.DecisionLog = "talos", true },
			"--decision-log: is not for --target talos: add the flag and a folder that jobgate may write to by hand"},
		{"no port for the second", second("systemd", "127.0.0.1:65535"), `--health-address: "127.0.0.1:65535" leaves no port`},
		{"the second's port is in use", second("systemd", "127.0.0.1:9442"), "--health-address: the next port is for the health of the second instance"},
		{"health address", func(_ *testing.T, in *install.Input, _ string) { in.HealthAddress = "9444" }, `--health-address: "9444" is not host:port`},
		{"host", func(_ *testing.T, in *install.Input, _ string) { in.Hosts = []string{"a b"} }, `--host: "a b" is neither`},
		{"keep and force", func(_ *testing.T, in *install.Input, _ string) { in.KeepMine, in.TakeNew = true, true }, "--keep: cannot be used with --force"},
		{"image", func(_ *testing.T, in *install.Input, _ string) { in.Target, in.Image = "kubeadm", "a b" }, `--image: image "a b" must have only`},
		{"no image", func(_ *testing.T, in *install.Input, _ string) { in.Target, in.Image = "k3s", "" }, "--image: this jobgate is not a release"},
		{"no target", func(_ *testing.T, in *install.Input, _ string) { in.Target = "" }, "--target: it is required: one of kubeadm, k3s,"},
		{"no gitlab-ca", func(_ *testing.T, in *install.Input, dir string) { in.GitLabCAFile = dir + "/none" }, "--gitlab-ca: stat "},
		{
			"gitlab-ca without a certificate",
			func(t *testing.T, in *install.Input, dir string) { in.GitLabCAFile = write(t, dir+"/f", "x") }, "--gitlab-ca: ",
		},
		{
			"gitlab-ca with a key",
			func(t *testing.T, in *install.Input, dir string) {
				text, err := os.ReadFile(certificate(t, dir))
				must(t, err)
				in.GitLabCAFile = write(t, dir+"/f", string(text)+"-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n")
			}, "it has a private key",
		},
		{
			"empty gitlab-ca",
			func(t *testing.T, in *install.Input, dir string) { in.GitLabCAFile = write(t, dir+"/f", "") }, "--gitlab-ca: ",
		},
		{
			"a pipe", func(t *testing.T, in *install.Input, dir string) {
				in.GitLabCAFile = dir + "/pipe"
				must(t, syscall.Mkfifo(in.GitLabCAFile, 0o600))
			}, "not a regular file",
		},
		{
			"huge authorizers", func(t *testing.T, in *install.Input, dir string) {
				in.AuthorizersFile = write(t, dir+"/f", strings.Repeat("#", 1<<20+1))
			}, "too large: more than 1048576 bytes",
		},
		{
			"empty authorizers", func(t *testing.T, in *install.Input, dir string) { in.AuthorizersFile = write(t, dir+"/f", "") },
			"the file is empty",
		},
		{
			"broken authorizers", func(t *testing.T, in *install.Input, dir string) { in.AuthorizersFile = write(t, dir+"/f", header) },
			"/f: not an AuthorizationConfiguration that kube-apiserver accepts: authorizers: Required value",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			in := input(dir)
			row.change(t, &in, dir)
			before := listing(t, dir)
			_, err := in.Setup(t.Context())
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want something with %q", err, row.want)
			}
			if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
				t.Errorf("something was written (-before +after):\n%s", diff)
			}
		})
	}
}

func agents(texts ...string) func(*testing.T, *install.Input, string) {
	return func(_ *testing.T, in *install.Input, _ string) { in.Agents = texts }
}

func grant(g install.Grant) func(*testing.T, *install.Input, string) {
	return func(_ *testing.T, in *install.Input, _ string) { in.Agents, in.Grant = nil, g }
}

func url(text string) func(*testing.T, *install.Input, string) {
	return func(_ *testing.T, in *install.Input, _ string) { in.GitLabURL = text }
}

func address(text string) func(*testing.T, *install.Input, string) {
	return func(_ *testing.T, in *install.Input, _ string) { in.Address = text }
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Each flag is named once, even if more than one check objects to it.
func TestInput_ListsEveryMistakeAtOnce(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(in *install.Input)
		want   []string
	}{
		{"nothing is given", func(in *install.Input) { *in = install.Input{Root: in.Root} }, []string{"--target", "--instances", "--agent", "--address", "--health-address", "--gitlab-url"}},
		{
			"everything is wrong", func(in *install.Input) {
				in.Target, in.Agents, in.NodeDir, in.Address, in.Hosts = "x", []string{"x"}, "here", "nowhere", []string{"a b"}
				in.GitLabCAFile, in.GitLabURL, in.KeepMine, in.TakeNew = "/nonexistent", "gitlab.example.com/", true, true
			},
			[]string{"--target", "--node-dir", "--agent", "--gitlab-ca", "--address", "--host", "--keep", "--gitlab-url"},
		},
		{
			"a pod's", func(in *install.Input) {
				in.Target, in.Image, in.GitLabURL, in.Agents = "kubeadm", "a b", "", []string{"4=x"}
				in.ClusterConfigFile, in.AuthorizersFile = "/nonexistent/cluster", "/nonexistent/authorizers"
			},
			[]string{"--authorization-config", "--cluster-configuration", "--gitlab-url", "--agent", "--image"},
		},
		{"a unit's", func(in *install.Input) { in.Binary, in.NodeDir = "x", "/home/a" }, []string{"--binary", "--node-dir"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := input(t.TempDir())
			row.change(&in)
			_, err := in.Setup(t.Context())
			if err == nil {
				t.Fatal("accepted")
			}
			var flags []string
			for line := range strings.Lines(err.Error()) {
				flag, _, _ := strings.Cut(line, ": ")
				flags = append(flags, flag)
			}
			slices.Sort(flags)
			slices.Sort(row.want)
			if diff := cmp.Diff(row.want, flags); diff != "" {
				t.Errorf("-want +got:\n%s\nin\n%v", diff, err)
			}
		})
	}
}

func TestInput_Directories(t *testing.T) {
	here, err := os.Getwd()
	must(t, err)
	for _, row := range []struct{ name, target, dir, nodeDir, wantDir, wantNodeDir string }{
		{"defaults", "systemd", "", "", "/etc/kubernetes/jobgate", "/etc/kubernetes/jobgate"},
		{"node-dir", "systemd", "", "/opt/jobgate", "/opt/jobgate", "/opt/jobgate"},
		{"dir", "k3s", "out", "", here + "/out", "/etc/kubernetes/jobgate"},
		{"both", "k3s", "/tmp/a b", "/opt/jobgate", "/tmp/a b", "/opt/jobgate"},
		{"talos", "talos", "", "", here + "/jobgate-talos", "/var/lib/jobgate"},
		{"talos with node-dir", "talos", "", "/var/jobgate", here + "/jobgate-talos", "/var/jobgate"},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := input("/")
			in.Target, in.Dir, in.NodeDir = row.target, row.dir, row.nodeDir
			s, err := in.Setup(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s.Options.Dir != row.wantDir || s.Options.NodeDir != row.wantNodeDir {
				t.Errorf("got %s and %s, want %s and %s", s.Options.Dir, s.Options.NodeDir, row.wantDir, row.wantNodeDir)
			}
		})
	}
}

func TestInput_HostsOfTheCertificate(t *testing.T) {
	for _, row := range []struct {
		name, address string
		hosts, want   []string
	}{
		{"loopback needs none", "127.0.0.1:9443", nil, nil},
		{"IPv6 loopback", "[::1]:9443", nil, nil},
		{"localhost", "localhost:9443", nil, nil},
		{"all interfaces", "0.0.0.0:9443", nil, nil},
		{"all interfaces of IPv6", "[::]:9443", []string{"jobgate"}, []string{"jobgate"}},
		{"no host", ":9443", nil, nil},
		{"another address", "192.0.2.1:9443", []string{"jobgate.example.com", "192.0.2.1"}, []string{"192.0.2.1", "jobgate.example.com"}},
		{"a name", "jobgate.example.com:9443", nil, []string{"jobgate.example.com"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := input(t.TempDir())
			in.Address, in.Hosts = row.address, row.hosts
			s, err := in.Setup(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(s.Hosts, row.want) {
				t.Errorf("got %v, want %v", s.Hosts, row.want)
			}
		})
	}
}

// Every kind of control plane can be set up for jobs without an agent.
func TestInput_GrantsNeedNoAgent(t *testing.T) {
	for _, target := range install.Targets() {
		t.Run(target.Name, func(t *testing.T) {
			dir := t.TempDir()
			in := input(dir)
			in.Target, in.Agents, in.Dir, in.NodeDir = target.Name, nil, filepath.Join(dir, "jobgate"), ""
			in.Grant = install.Grant{Cluster: "prod", Projects: []int64{150}, Audience: "https://kubernetes.example.com"}
			in.GitLabTokenFile = target.NodeDir + "/gitlab-token"
			s, err := in.Setup(t.Context())
			must(t, err)
			if notes := strings.Join(s.Notes, " "); !strings.Contains(notes, in.GitLabTokenFile) || !strings.Contains(notes, "read_api") {
				t.Errorf("no note says to put the access token into its file: %s", notes)
			}
			if _, err := s.Plan(); err != nil {
				t.Error(err)
			}
		})
	}
}

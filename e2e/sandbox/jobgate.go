package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jobgate/jobgate/internal/config"

	"github.com/jobgate/jobgate/e2e/process"
)

const healthTimeout = 5 * time.Second

// WebhookClient is the API server's name in the client certificate that it shows to jobgate.
const WebhookClient = "kube-apiserver"

// Jobgate is a jobgate process that can be stopped and started again on the same ports.
type Jobgate struct {
	URL       string // https, for the API server
	HealthURL string // http: /livez, /readyz, /metrics
	LogFile   string // holds the logs of all its runs

	configuration *config.Configuration
	configFile    string
	webhooks      webhookFiles
	spec          process.Spec
	process       *process.Process
}

// ConfigFile is the file that it reads.
func (j *Jobgate) ConfigFile() string { return j.configFile }

// PID is its process id.
func (j *Jobgate) PID() int { return j.process.PID() }

// Start starts a stopped jobgate and waits until it is ready.
func (j *Jobgate) Start(ctx context.Context) error {
	if _, err := j.writeConfiguration(j.configuration); err != nil {
		return err
	}
	child, err := process.Start(j.spec)
	if err != nil {
		return err
	}
	j.process = child
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = child.WaitReady(ctx, func(ctx context.Context) error {
		_, err := j.health(ctx, "/readyz")
		return err
	})
	if err != nil {
		child.Kill()
	}
	return err
}

// Stop ends jobgate as a node's kubelet would; it fails if jobgate does not end well.
func (j *Jobgate) Stop() error {
	if j.process == nil {
		return nil
	}
	return j.process.Stop()
}

// Kill ends jobgate at once, as a crash would.
func (j *Jobgate) Kill() { j.process.Kill() }

// Restart stops jobgate and starts it with a changed configuration (nil: the same).
func (j *Jobgate) Restart(ctx context.Context, change func(*config.Configuration)) error {
	if err := j.Stop(); err != nil {
		return err
	}
	if change != nil {
		change(j.configuration)
	}
	return j.Start(ctx)
}

func (j *Jobgate) health(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	body, err := process.Get(ctx, http.DefaultClient, j.HealthURL+path)
	return string(body), err
}

// StartJobgate starts another jobgate between GitLab and any API server that is told to ask it. The sandbox stops it
// when it closes. The name is unique; change (nil: none) changes the sandbox's configuration for this one, and args are
// added to its command line.
func (s *Sandbox) StartJobgate(
	ctx context.Context, name string, change func(*config.Configuration), args ...string,
) (*Jobgate, error) {
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", name, err)
	}
	configuration, err := s.configuration(dir)
	if err != nil {
		return nil, err
	}
	s.options.Configure(configuration)
	if change != nil {
		change(configuration)
	}
	j := &Jobgate{
		URL:           "https://" + configuration.Serving.Address,
		HealthURL:     "http://" + configuration.Serving.HealthAddress,
		LogFile:       filepath.Join(s.Dir, name+".log"),
		configuration: configuration, configFile: filepath.Join(dir, "jobgate.yaml"),
	}
	j.spec = process.Spec{
		Name: name, Path: s.options.Binaries.Jobgate, LogFile: j.LogFile, Env: s.raceEnv(),
		Args: slices.Concat([]string{"serve", "--config=" + j.configFile}, s.options.JobgateArgs, args),
	}
	if j.webhooks, err = s.writeWebhookFiles(dir, j.URL); err != nil {
		return nil, err
	}
	if err := j.Start(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobgates = append(s.jobgates, j)
	return j, nil
}

// StartSecond starts a second instance of a jobgate whose configuration has serving.reusePort. They share all files; API servers
// cannot tell them apart.
func (s *Sandbox) StartSecond(ctx context.Context, first *Jobgate) (*Jobgate, error) {
	address, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	second := *first
	second.HealthURL, second.process = "http://"+address, nil
	second.spec.Name += "-2"
	second.spec.Args = slices.Concat(first.spec.Args, []string{"--health-address=" + address})
	if err := second.Start(ctx); err != nil {
		return nil, err
	}
	s.jobgates = append(s.jobgates, &second)
	return &second, nil
}

// configuration has everything but the agents: free ports, and certificates of the webhook's own authority for
// both ends.
func (s *Sandbox) configuration(dir string) (*config.Configuration, error) {
	address, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	healthAddress, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	serving, err := s.webhookCA.IssueServer(dir, "jobgate")
	if err != nil {
		return nil, err
	}
	c := config.Default()
	c.APIVersion, c.Kind = config.APIVersion, config.Kind
	c.GitLab.URL, c.GitLab.CAFile = s.GitLab.URL(), s.gitlabCA
	c.Serving = config.Serving{
		Address: address, HealthAddress: healthAddress,
		CertFile: serving.Cert, KeyFile: serving.Key,
		ClientCAFile: s.webhookCAFile, ClientNames: []string{WebhookClient},
	}
	return c, nil
}

package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/config"
)

const (
	reloadInterval = 20 * time.Millisecond
	reloadMetric   = "jobgate_config_reloads_total"
)

// Configuration is a copy of the configuration in force.
func (j *Jobgate) Configuration() (*config.Configuration, error) {
	text, err := yaml.Marshal(j.configuration)
	if err != nil {
		return nil, fmt.Errorf("encode jobgate's configuration: %w", err)
	}
	c, err := config.Parse("the sandbox's copy", text)
	if err != nil {
		return nil, fmt.Errorf("decode jobgate's configuration: %w", err)
	}
	return c, nil
}

// Reconfigure changes the configuration file of a running jobgate, and returns once that is in force.
func (j *Jobgate) Reconfigure(ctx context.Context, change func(*config.Configuration)) error {
	changed, err := j.Configuration()
	if err != nil {
		return err
	}
	change(changed)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	before, err := j.reloads(ctx)
	if err != nil {
		return err
	}
	differs, err := j.writeConfiguration(changed)
	if err != nil || !differs {
		return err
	}
	err = wait.PollUntilContextCancel(ctx, reloadInterval, true, func(ctx context.Context) (bool, error) {
		now, err := j.reloads(ctx)
		if err == nil && now.refused > before.refused {
			err = fmt.Errorf("jobgate refused it; see %s", j.LogFile)
		}
		return now.applied > before.applied, err
	})
	if err != nil {
		return fmt.Errorf("change jobgate's configuration: %w", err)
	}
	*j.configuration = *changed // a second instance has the same
	return nil
}

// reloads are how often jobgate has read a changed configuration.
type reloads struct{ applied, refused float64 }

func (j *Jobgate) reloads(ctx context.Context) (r reloads, err error) {
	if r.applied, err = j.Metric(ctx, reloadMetric, map[string]string{"result": "applied"}); err != nil {
		return r, err
	}
	r.refused, err = j.Metric(ctx, reloadMetric, map[string]string{"result": "refused"})
	return r, err
}

// writeConfiguration replaces the file as a whole, so that jobgate never reads half of it, and says whether it differs.
func (j *Jobgate) writeConfiguration(c *config.Configuration) (differs bool, err error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return false, fmt.Errorf("encode jobgate's configuration: %w", err)
	}
	if before, err := os.ReadFile(j.configFile); err == nil && bytes.Equal(before, text) {
		return false, nil
	}
	next := j.configFile + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return false, fmt.Errorf("write jobgate's configuration: %w", err)
	}
	if err := os.Rename(next, j.configFile); err != nil {
		return false, fmt.Errorf("replace jobgate's configuration: %w", err)
	}
	return true, nil
}

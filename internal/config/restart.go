package config

import "slices"

// RestartNeeded returns the keys that differ from the old configuration and take effect only with a restart. A change in the
// content of a file that the configuration names never needs one.
func (c *Configuration) RestartNeeded(old *Configuration) []string {
	var paths []string
	for _, setting := range []struct {
		path    string
		differs bool
	}{
		{"cluster.name", c.Cluster.Name != old.Cluster.Name},
		{"gitlab.url", c.GitLab.URL != old.GitLab.URL},
		{"serving.address", c.Serving.Address != old.Serving.Address},
		{"serving.certFile", c.Serving.CertFile != old.Serving.CertFile},
		{"serving.keyFile", c.Serving.KeyFile != old.Serving.KeyFile},
		{"serving.clientCAFile", c.Serving.ClientCAFile != old.Serving.ClientCAFile},
		{"serving.clientNames", !slices.Equal(c.Serving.ClientNames, old.Serving.ClientNames)},
		{"serving.healthAddress", c.Serving.HealthAddress != old.Serving.HealthAddress},
		{"serving.reusePort", c.Serving.ReusePort != old.Serving.ReusePort},
	} {
		if setting.differs {
			paths = append(paths, setting.path)
		}
	}
	return paths
}

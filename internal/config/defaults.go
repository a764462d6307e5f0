package config

import "time"

// Default returns what a configuration file says by leaving everything out. It is not valid: gitlab.url, an agent and
// the serving certificate have no default.
func Default() *Configuration {
	return &Configuration{
		GitLab: GitLab{
			FiltersProtectedBranches: true,
			Timeout:                  Duration{Duration: 10 * time.Second},
			MaxInFlight:              64,
			RateLimit:                RateLimit{RequestsPerSecond: 200, Burst: 1000},
		},
		IDTokens: IDTokens{RequireLiveness: true},
		Cache: Cache{
			FreshFor:    Duration{Duration: 10 * time.Second},
			StaleFor:    Duration{Duration: 2 * time.Minute},
			RejectedFor: Duration{Duration: 10 * time.Second},
			MaxJobs:     65536,
			MaxRejected: 65536,
		},
		Serving: Serving{
			Address:       "127.0.0.1:9443",
			HealthAddress: "127.0.0.1:9444",
		},
	}
}

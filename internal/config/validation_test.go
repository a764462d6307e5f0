package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
)

// Places in the minimal configuration where the rows of the tables put something.
const (
	url     = "https://gitlab.example.com"
	agent   = "  name: path/to/agent/project:agent-name\n"
	serving = "serving:\n"
)

func TestParse_RefusesBadGitLabSettings(t *testing.T) {
	const (
		notURL  = "4: gitlab.url: must be a URL, as in https://gitlab.example.com"
		notAPI  = "4: gitlab.url: must end before /api/v4, which jobgate adds itself"
		notHost = "4: gitlab.url: must have a host; a port, if there is one, is from 1 to 65535"
	)
	checkRefusals(t, []refusal{
		{
			"no URL", "  url: " + url, "  maxInFlight: 1",
			[]string{"3: gitlab.url: is required, for example https://gitlab.example.com"},
		},
		{"relative URL", url, "/gitlab", []string{"4: gitlab.url: must begin with https:// or http://"}},
		{
			"URL without a scheme", url, "gitlab.example.com",
			[]string{"4: gitlab.url: must begin with https:// or http://"},
		},
		{
			"URL of another scheme", url, "ssh://gitlab.example.com",
			[]string{"4: gitlab.url: must begin with https:// or http://"},
		},
		{"URL without slashes", url, "https:gitlab.example.com", []string{notURL}},
		{"URL with a blank", url, "https://gitlab example.com", []string{notURL}},
		{"URL without a host", url, "https:///gitlab", []string{notHost}},
		{"URL with only a port", url, "https://:443", []string{notHost}},
		{"URL with port 0", url, "https://gitlab.example.com:0", []string{notHost}},
		{"URL with too high a port", url, "https://gitlab.example.com:65536", []string{notHost}},
		{
			"URL with user information", url, "https://root@gitlab.example.com",
			[]string{"4: gitlab.url: must have no user information"},
		},
		{
			"URL with a query", url, "https://gitlab.example.com?a=b",
			[]string{"4: gitlab.url: must have no query and no fragment"},
		},
		{
			"URL with an empty query", url, "https://gitlab.example.com?",
			[]string{"4: gitlab.url: must have no query and no fragment"},
		},
		{
			"URL with an empty fragment", url, "https://gitlab.example.com#",
			[]string{"4: gitlab.url: must have no query and no fragment"},
		},
		{"URL of the API", url, url + "/api/v4", []string{notAPI}},
		{"URL of the API under a relative root", url, url + "/gitlab/api/v4/", []string{notAPI}},
		{"URL within the API", url, url + "/api/v4/projects", []string{notAPI}},
		{
			"plain HTTP", url, "http://gitlab.example.com",
			[]string{
				"4: gitlab.url: must begin with https://, because job tokens would travel unencrypted; allowPlainHTTP: true permits it",
			},
		},
		{
			"negative timeout", "agents:", "  timeout: -1s\nagents:",
			[]string{`5: gitlab.timeout: must be above 0s and at most 25s, not -1s`},
		},
		{
			"no timeout", "agents:", "  timeout: 0s\nagents:",
			[]string{`5: gitlab.timeout: must be above 0s and at most 25s, not 0s`},
		},
		{
			"timeout beyond the token cache's", "agents:", "  timeout: 25001ms\nagents:",
			[]string{`5: gitlab.timeout: must be above 0s and at most 25s, not 25.001s`},
		},
		{
			"no requests in flight", "agents:", "  maxInFlight: 0\nagents:",
			[]string{"5: gitlab.maxInFlight: must be from 1 to 10000, not 0"},
		},
		{
			"too many requests in flight", "agents:", "  maxInFlight: 10001\nagents:",
			[]string{"5: gitlab.maxInFlight: must be from 1 to 10000, not 10001"},
		},
		{
			"no rate", "agents:", "  rateLimit: {requestsPerSecond: -0.5,\n    burst: 0}\nagents:",
			[]string{
				"5: gitlab.rateLimit.requestsPerSecond: must be above 0, not -0.5",
				"6: gitlab.rateLimit.burst: must be at least 1, not 0",
			},
		},
	})
}

func TestParse_RefusesBadCacheAndServing(t *testing.T) {
	const noClientCA = "8: serving.clientCAFile: is required: other machines can reach serving.address, " +
		"so the API server must prove itself with a certificate"
	checkRefusals(t, []refusal{
		{
			"negative cache durations", serving, "cache:\n  freshFor: -1ns\n  staleFor: -1s\n  rejectedFor: -1h\n" + serving,
			[]string{
				`9: cache.freshFor: must be at least 0s, not -1ns`,
				`10: cache.staleFor: must be at least 0s, not -1s`,
				`11: cache.rejectedFor: must be at least 0s, not -1h`,
			},
		},
		{
			"no cache", serving, "cache:\n  maxJobs: 0\n  maxRejected: -1\n" + serving,
			[]string{
				"9: cache.maxJobs: must be from 1 to 16777216, not 0",
				"10: cache.maxRejected: must be from 1 to 16777216, not -1",
			},
		},
		{
			"too large a cache", serving, "cache:\n  maxJobs: 16777217\n  maxRejected: 16777217\n" + serving,
			[]string{
				"9: cache.maxJobs: must be from 1 to 16777216, not 16777217",
				"10: cache.maxRejected: must be from 1 to 16777216, not 16777217",
			},
		},

		{
			"no certificate", "  certFile: /etc/jobgate/tls/tls.crt\n  keyFile: /etc/jobgate/tls/tls.key\n", "",
			[]string{
				"8: serving.certFile: is required, for example pki/serving.pem",
				"8: serving.keyFile: is required, for example pki/serving.pem",
			},
		},
		{
			"no address", serving, serving + "  address: \"\"\n",
			[]string{"9: serving.address: is required, for example 0.0.0.0:9443"},
		},
		{
			"address without a port", serving, serving + "  address: 127.0.0.1\n",
			[]string{`9: serving.address: must be host:port with a port from 0 to 65535, not "127.0.0.1"`},
		},
		{
			"address with a named port", serving, serving + "  address: 127.0.0.1:https\n",
			[]string{`9: serving.address: must be host:port with a port from 0 to 65535, not "127.0.0.1:https"`},
		},
		{
			"address with too high a port", serving, serving + "  address: 127.0.0.1:65536\n",
			[]string{`9: serving.address: must be host:port with a port from 0 to 65535, not "127.0.0.1:65536"`},
		},
		{
			"address with a bad host", serving, serving + "  address: 127.0.0_1:1\n",
			[]string{`9: serving.address: must have an IP address or a DNS name as host, not "127.0.0_1:1"`},
		},
		{
			"health address without a port", serving, serving + "  healthAddress: localhost\n",
			[]string{`9: serving.healthAddress: must be host:port with a port from 0 to 65535, not "localhost"`},
		},
		{
			"no health address", serving, serving + "  healthAddress: \"\"\n",
			[]string{"9: serving.healthAddress: is required, for example 127.0.0.1:9444"},
		},
		{"every interface without a client CA", serving, serving + "  address: :9443\n", []string{noClientCA}},
		{"IPv6 without a client CA", serving, serving + "  address: \"[fd00::1]:9443\"\n", []string{noClientCA}},
		{"a name without a client CA", serving, serving + "  address: localhost.example.com:9443\n", []string{noClientCA}},
		{
			"client names without a client CA", serving, serving + "  clientNames: [kube-apiserver]\n",
			[]string{"9: serving.clientNames: may be set only together with clientCAFile"},
		},
		{
			"blank client name", serving, serving + "  clientCAFile: /ca.crt\n  clientNames: [\"\"]\n",
			[]string{`10: serving.clientNames[0]: must not be blank: ""`},
		},
	})
}

func TestParse_AcceptsEveryValueWithinBounds(t *testing.T) {
	for _, row := range []struct {
		name, from, to string
	}{
		{"relative URL root", url, "https://gitlab.example.com/gitlab/"},
		{"URL with a port", url, "https://gitlab.example.com:8443"},
		{"URL with an IPv6 address", url, "https://[fd00::1]:8443"},
		{"URL with an upper-case scheme", url, "HTTPS://gitlab.example.com"},
		{"plain HTTP with consent", url, "http://gitlab.example.com\n  allowPlainHTTP: true"},
		{"longest timeout", "agents:", "  timeout: 25s\nagents:"},
		{"shortest timeout", "agents:", "  timeout: 1ns\nagents:"},
		{"most requests in flight", "agents:", "  maxInFlight: 10000\nagents:"},
		{"least rate", "agents:", "  rateLimit: {requestsPerSecond: 0.01, burst: 1}\nagents:"},
		{"largest cache", serving, "cache: {maxJobs: 16777216, maxRejected: 16777216}\n" + serving},
		{"smallest cache", serving, "cache: {maxJobs: 1, maxRejected: 1}\n" + serving},
		{"no agent name", agent, ""},
		{"any user", agent, agent + "  impersonate: {users: [\"*\"], extraKeys: [\"*\", example.com/jobgate.io]}\n"},
		{"IPv4 loopback", serving, serving + "  address: 127.1.2.3:0\n"},
		{"IPv6 loopback", serving, serving + "  address: \"[::1]:9443\"\n"},
		{"localhost", serving, serving + "  address: localhost:9443\n"},
		{"every interface with a client CA", serving, serving + "  address: :9443\n  clientCAFile: /ca.crt\n"},
		{"health on every interface", serving, serving + "  healthAddress: :0\n"},
		{"lines that end as on Windows", agent, strings.ReplaceAll(agent, "\n", "\r\n")},
		{"an explicit document", "apiVersion:", "--- # jobgate\napiVersion:"},
	} {
		t.Run(row.name, func(t *testing.T) { parse(t, edit(t, row.from, row.to)) })
	}
}

func TestParse_NeverRepeatsTheURL(t *testing.T) {
	for _, bad := range []string{
		"https://oauth2:glpat-secret@gitlab.example.com",
		"https://oauth2:glpat-secret@gitlab.example.com:port",
		"https://oauth2:glpat-secret@",
		"glpat-secret://gitlab.example.com",
		"https://gitlab.example.com?private_token=glpat-secret",
		"https://gitlab.example.com#glpat-secret",
		"\"https://gitlab.example.com\\nglpat-secret\"",
	} {
		_, err := config.Parse("config.yaml", []byte(edit(t, url, bad)))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v for %s", err, bad)
		}
	}
}

// refusal is a change to the minimal configuration, and all that is then wrong with it.
type refusal struct {
	name, from, to string
	want           []string
}

func checkRefusals(t *testing.T, rows []refusal) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, problems(t, edit(t, row.from, row.to))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

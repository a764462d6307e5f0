package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of the settings.
const (
	// maxTimeout leaves the answer 5 s to get home: a TokenReview that takes longer than 30 s is of no use, for
	// kube-apiserver's token cache gives a lookup no more (k8s.io/apiserver pkg/authentication/token/cache).
	maxTimeout   = 25 * time.Second
	maxInFlight  = 10_000
	maxCacheSize = 16 << 20
)

// validate checks everything that can be told without looking at files.
func (c *Configuration) validate() field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, validateConstant(c.APIVersion, APIVersion, field.NewPath("apiVersion"))...)
	errs = append(errs, validateConstant(c.Kind, Kind, field.NewPath("kind"))...)
	errs = append(errs, c.GitLab.validate(field.NewPath("gitlab"))...)
	errs = append(errs, validateAgents(c.Agents, field.NewPath("agents"))...)
	errs = append(errs, validateRestrictions(c.Restrictions, c.Agents, field.NewPath("restrictions"))...)
	errs = append(errs, c.Cache.validate(field.NewPath("cache"))...)
	errs = append(errs, c.Serving.validate(field.NewPath("serving"))...)
	return errs
}

func validateConstant(value, want string, path *field.Path) field.ErrorList {
	switch value {
	case want:
		return nil
	case "":
		return field.ErrorList{field.Required(path, "must be "+want)}
	default:
		return field.ErrorList{field.NotSupported(path, value, []string{want})}
	}
}

func (g *GitLab) validate(path *field.Path) field.ErrorList {
	errs := g.validateURL(path.Child("url"))
	if d := g.Timeout; d.Duration <= 0 || d.Duration > maxTimeout {
		detail := fmt.Sprintf("must be above 0s and at most %s", maxTimeout)
		errs = append(errs, field.Invalid(path.Child("timeout"), d.String(), detail))
	}
	errs = append(errs, validateRange(g.MaxInFlight, maxInFlight, path.Child("maxInFlight"))...)
	rate := path.Child("rateLimit")
	if perSecond := g.RateLimit.RequestsPerSecond; !(perSecond > 0) || math.IsInf(perSecond, 0) {
		errs = append(errs, field.Invalid(rate.Child("requestsPerSecond"), perSecond, "must be greater than 0"))
	}
	if g.RateLimit.Burst < 1 {
		errs = append(errs, field.Invalid(rate.Child("burst"), int64(g.RateLimit.Burst), "must be at least 1"))
	}
	return errs
}

// validateURL repeats nothing of the URL: user information or a query may be a secret.
func (g *GitLab) validateURL(path *field.Path) field.ErrorList {
	if g.URL == "" {
		return field.ErrorList{field.Required(path, "the address of the GitLab instance, as in https://gitlab.example.com")}
	}
	invalid := func(detail string) field.ErrorList {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, detail)}
	}
	u, err := url.Parse(g.URL)
	switch {
	case err != nil || u.Opaque != "":
		return invalid("must be a URL, as in https://gitlab.example.com")
	case u.Scheme != "https" && u.Scheme != "http":
		return invalid("must begin with https:// or http://")
	case u.Hostname() == "" || (u.Port() != "" && !isPort(u.Port(), 1)):
		return invalid("must have a host and, if any, a port from 1 to 65535")
	case u.User != nil:
		return invalid("must have no user information")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(g.URL, "#"):
		return invalid("must have no query and no fragment")
	case u.Scheme == "http" && !g.AllowPlainHTTP:
		return invalid("must be https, or allowPlainHTTP must be true: job tokens would travel unencrypted")
	default:
		return nil
	}
}

func (c *Cache) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, entry := range []struct {
		name  string
		value Duration
	}{{"freshFor", c.FreshFor}, {"staleFor", c.StaleFor}, {"rejectedFor", c.RejectedFor}} {
		if entry.value.Duration < 0 {
			errs = append(errs, field.Invalid(path.Child(entry.name), entry.value.String(), "must not be negative"))
		}
	}
	errs = append(errs, validateRange(c.MaxJobs, maxCacheSize, path.Child("maxJobs"))...)
	errs = append(errs, validateRange(c.MaxRejected, maxCacheSize, path.Child("maxRejected"))...)
	return errs
}

func (s *Serving) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	host, invalid := validateAddress(s.Address, path.Child("address"))
	errs = append(errs, invalid...)
	if s.CertFile == "" {
		errs = append(errs, field.Required(path.Child("certFile"), "a PEM file with the serving certificate"))
	}
	if s.KeyFile == "" {
		errs = append(errs, field.Required(path.Child("keyFile"), "a PEM file with the serving certificate's key"))
	}
	if s.ClientCAFile == "" {
		if len(invalid) == 0 && !isLoopback(host) {
			detail := "address is not a loopback address, so callers must prove with a certificate that they are the API server"
			errs = append(errs, field.Required(path.Child("clientCAFile"), detail))
		}
		if len(s.ClientNames) > 0 {
			errs = append(errs, field.Forbidden(path.Child("clientNames"), "may be set only together with clientCAFile"))
		}
	}
	errs = append(errs, validateNoBlank(s.ClientNames, path.Child("clientNames"))...)
	_, invalid = validateAddress(s.HealthAddress, path.Child("healthAddress"))
	return append(errs, invalid...)
}

// validateAddress takes what net.Listen does, but for names of ports, and returns the host: empty for all interfaces.
func validateAddress(address string, path *field.Path) (host string, errs field.ErrorList) {
	if address == "" {
		return "", field.ErrorList{field.Required(path, "must be host:port")}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isPort(port, 0) {
		return "", field.ErrorList{field.Invalid(path, address, "must be host:port with a port from 0 to 65535")}
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && len(validation.IsDNS1123Subdomain(host)) > 0 {
		return "", field.ErrorList{field.Invalid(path, address, "must have an IP address or a DNS name as host")}
	}
	return host, nil
}

// isLoopback takes names other than localhost for what they may be: an address that others can reach.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

func isPort(text string, least uint64) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port >= least
}

func validateRange(value, most int, path *field.Path) field.ErrorList {
	if value < 1 || value > most {
		return field.ErrorList{field.Invalid(path, int64(value), fmt.Sprintf("must be from 1 to %d", most))}
	}
	return nil
}

// validateNoBlank refuses the entries of a list that are nothing but space.
func validateNoBlank(entries []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, entry := range entries {
		if strings.TrimSpace(entry) == "" {
			errs = append(errs, field.Invalid(path.Index(i), entry, "must not be blank"))
		}
	}
	return errs
}

package config

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/policy"
)

// validate checks what the tags of the types cannot say, without a look at files.
func (c *Configuration) validate() field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, c.GitLab.validateURL(field.NewPath("gitlab", "url"))...)
	errs = append(errs, validateAgents(c.Agents, field.NewPath("agents"))...)
	errs = append(errs, c.validateGrants()...)
	errs = append(errs, c.validateIDTokens()...)
	errs = append(errs, validateRestrictions(c.Restrictions, c.Agents, field.NewPath("restrictions"))...)
	errs = append(errs, c.Serving.validate(field.NewPath("serving"))...)
	return errs
}

// validateURL never repeats the URL: user information or a query may be a secret.
func (g *GitLab) validateURL(path *field.Path) field.ErrorList {
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
		return invalid("must have a host; a port, if there is one, is from 1 to 65535")
	case u.User != nil:
		return invalid("must have no user information")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(g.URL, "#"):
		return invalid("must have no query and no fragment")
	case strings.Contains(u.Path+"/", "/api/v4/"):
		return invalid("must end before /api/v4, which jobgate adds itself")
	case u.Scheme == "http" && !g.AllowPlainHTTP:
		return invalid("must begin with https://, because job tokens would travel unencrypted; allowPlainHTTP: true permits it")
	default:
		return nil
	}
}

func (s *Serving) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	host, invalid := validateAddress(s.Address, path.Child("address"))
	errs = append(errs, invalid...)
	if s.ClientCAFile == "" {
		if len(invalid) == 0 && !isLoopback(host) {
			detail := "other machines can reach serving.address, so the API server must prove itself with a certificate"
			errs = append(errs, field.Required(path.Child("clientCAFile"), detail))
		}
		if len(s.ClientNames) > 0 {
			errs = append(errs, field.Forbidden(path.Child("clientNames"), "may be set only together with clientCAFile"))
		}
	}
	errs = append(errs, policy.NoBlank(s.ClientNames, path.Child("clientNames"))...)
	_, invalid = validateAddress(s.HealthAddress, path.Child("healthAddress"))
	return append(errs, invalid...)
}

// validateAddress accepts what net.Listen does, except for names of ports. The host is empty for all interfaces.
func validateAddress(address string, path *field.Path) (host string, errs field.ErrorList) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isPort(port, 0) {
		return "", field.ErrorList{field.Invalid(path, address, "must be host:port with a port from 0 to 65535")}
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && len(validation.IsDNS1123Subdomain(host)) > 0 {
		return "", field.ErrorList{field.Invalid(path, address, "must have an IP address or a DNS name as host")}
	}
	return host, nil
}

// isLoopback says no for every name except localhost, as others may reach it.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

func isPort(text string, least uint64) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port >= least
}

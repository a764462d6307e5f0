package gitlabtest

import (
	"net/http"
	"time"
)

// version is GET /version (lib/api/metadata.rb). It takes an access token.
func (c *call) version() (*response, error) {
	if c.who.user == nil {
		return nil, errUnauthorized
	}
	release := c.st.instance.Settings.Release
	if release == "" {
		release = currentRelease
	}
	return jsonResponse(http.StatusOK, map[string]string{"version": release, "revision": "0123456789a"}), nil
}

// accessTokenEntity is API::Entities::PersonalAccessToken, as far as anyone here reads it.
type accessTokenEntity struct {
	ID        int64    `json:"id"`
	Name      string   `json:"name"`
	Revoked   bool     `json:"revoked"`
	Scopes    []string `json:"scopes"`
	UserID    int64    `json:"user_id"`
	Active    bool     `json:"active"`
	ExpiresAt *string  `json:"expires_at"`
}

// accessTokenSelf is GET /personal_access_tokens/self (lib/api/personal_access_tokens/self_information.rb).
func (c *call) accessTokenSelf() (*response, error) {
	access := c.who.access
	if access == nil {
		return nil, errUnauthorized
	}
	entity := accessTokenEntity{ID: 1, Name: "jobgate", Scopes: access.Scopes, UserID: access.User, Active: true}
	if !access.Expires.IsZero() {
		date := access.Expires.UTC().Format(time.DateOnly)
		entity.ExpiresAt = &date
	}
	return jsonResponse(http.StatusOK, entity), nil
}

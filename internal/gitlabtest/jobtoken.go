package gitlabtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	jobTokenPrefix = "glcbt-"
	// tokenPartition is the partition of the jobs table in new tokens, in hexadecimal: 0x64 is partition 100.
	tokenPartition = "64"
	// defaultTokenLifetime is a job timeout of one hour and GitLab's leeway of five minutes.
	defaultTokenLifetime = 65 * time.Minute
	// maxJobTokenBytes bounds what is looked at as a job token. GitLab has such a bound (MAX_JOB_TOKEN_SIZE_BYTES); its
	// value is not known.
	maxJobTokenBytes = 16 << 10
	jobSubject       = "gid://gitlab/Ci::Build/"
	jobAudience      = "gitlab-authz-token"
)

// databaseToken makes a token of the kind that GitLab stores with the job.
func databaseToken(format string) string {
	switch format {
	case formatLegacy:
		return friendlyToken()
	case formatPartition:
		return tokenPartition + "_" + friendlyToken()
	default:
		return jobTokenPrefix + tokenPartition + "_" + friendlyToken()
	}
}

// friendlyToken is 20 random characters of A-Z a-z 0-9 _ and -, as Devise makes them.
func friendlyToken() string {
	var raw [15]byte
	rand.Read(raw[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// tokenMint signs and reads JWT job tokens (lib/ci/job_token/jwt.rb, lib/authn/tokens/jwt.rb).
type tokenMint struct {
	issuer string // the instance's host, without scheme and port
	now    func() time.Time
}

// jobClaims are the claims of a JWT job token. Ids are in base 36; the cell id is left out, as without cells.
type jobClaims struct {
	jwt.RegisteredClaims
	Audience     string `json:"aud"` // one string, where RegisteredClaims would write a list
	Version      string `json:"version"`
	Organization string `json:"o"`
	User         string `json:"u,omitempty"`
	Project      string `json:"p"`
	Group        string `json:"g,omitempty"`
}

func (m *tokenMint) sign(j *Job, p *Project, instancePrefix string) (string, error) {
	key, err := jobTokenKey()
	if err != nil {
		return "", err
	}
	issued := m.now().Truncate(time.Second)
	if issued.After(j.TokenExpires) { // a token that an Instance wants to have expired was issued before that
		issued = j.TokenExpires.Add(-defaultTokenLifetime)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jobClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    m.issuer,
			Subject:   jobSubject + strconv.FormatInt(j.ID, 10),
			ID:        randomUUID(),
			IssuedAt:  jwt.NewNumericDate(issued),
			NotBefore: jwt.NewNumericDate(issued.Add(-5 * time.Second)),
			ExpiresAt: jwt.NewNumericDate(j.TokenExpires),
		},
		Audience:     jobAudience,
		Version:      "0.1.0",
		Organization: base36(max(p.Organization, 1)), // the default organization has id 1
		User:         base36(j.User),
		Project:      base36(p.ID),
		Group:        base36(p.Group),
	})
	token.Header["kid"] = thumbprint(&key.PublicKey)
	signed, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	prefix := jobTokenPrefix
	if instancePrefix != "" {
		prefix = instancePrefix + "-" + jobTokenPrefix
	}
	return prefix + signed, nil
}

// jobID reads a token that this process signed. ok is false for every other token. expired says that its exp
// has passed.
func (m *tokenMint) jobID(token, instancePrefix string) (id int64, expired, ok bool) {
	raw, prefixed := cutTokenPrefix(token, instancePrefix)
	if !prefixed || strings.Count(raw, ".") != 2 {
		return 0, false, false
	}
	var claims jobClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(raw, &claims, func(*jwt.Token) (any, error) {
		key, err := jobTokenKey()
		if err != nil {
			return nil, err
		}
		return &key.PublicKey, nil
	})
	if err != nil || claims.ExpiresAt == nil {
		return 0, false, false
	}
	number, found := strings.CutPrefix(claims.Subject, jobSubject)
	id, err = strconv.ParseInt(number, 10, 64)
	if !found || err != nil {
		return 0, false, false
	}
	return id, !m.now().Before(claims.ExpiresAt.Time), true
}

// cutTokenPrefix cuts glcbt-, or <instance prefix>-glcbt- where the instance has one now: the tokens of running jobs
// fail once the instance prefix is changed or removed (gitlab#636985).
func cutTokenPrefix(token, instancePrefix string) (string, bool) {
	if instancePrefix != "" {
		if raw, ok := strings.CutPrefix(token, instancePrefix+"-"+jobTokenPrefix); ok {
			return raw, true
		}
	}
	return strings.CutPrefix(token, jobTokenPrefix)
}

// errJWTChanged is an Instance that changed a JWT's expiry but kept the token that carries the old one.
var errJWTChanged = errors.New("tokenExpires has changed but the token, which carries it, has not: empty it too")

// base36 is 0-9a-z, or empty for 0: a claim about a thing that does not exist is left out.
func base36(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 36)
}

func randomUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, variant 1 (RFC 9562)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// thumbprint is the key's JWK thumbprint (RFC 7638), which GitLab uses as kid.
func thumbprint(key *rsa.PublicKey) string {
	enc := base64.RawURLEncoding.EncodeToString
	members := fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, enc(big.NewInt(int64(key.E)).Bytes()), enc(key.N.Bytes()))
	sum := sha256.Sum256([]byte(members))
	return enc(sum[:])
}

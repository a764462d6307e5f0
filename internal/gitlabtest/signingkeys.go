package gitlabtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"sync"
)

// SigningKey names a key that Server.Sign signs with.
type SigningKey int

const (
	// CIKey is ci_jwt_signing_key, which signs the ID tokens of jobs. The key set has it.
	CIKey SigningKey = iota
	// UserLoginKey is openid_connect_signing_key, which signs the tokens of people who log in elsewhere with GitLab,
	// under the same issuer. The key set has it, too.
	UserLoginKey
	// ForeignKey belongs to some other instance. The key set does not have it.
	ForeignKey
)

// defaultKeyBits is the size of a signing key unless Options.SigningKeyBits gives another.
const defaultKeyBits = 2048

// keyring holds the instance's RSA keys, by their places in the pool.
type keyring struct {
	mu     sync.Mutex
	ciBits int
	ci     int
}

// Places in the pool. Rotated CI keys follow the last of these.
const (
	jobTokenPlace = iota
	ciPlace
	userLoginPlace
	foreignPlace
)

// keyPool makes RSA keys when they are needed and shares them in the process, since making one takes long. So two
// servers have the same keys until one of them rotates its own.
type keyPool struct {
	mu   sync.Mutex
	keys map[keyPlace]*rsa.PrivateKey
}

type keyPlace struct{ bits, number int }

var pool = keyPool{keys: map[keyPlace]*rsa.PrivateKey{}}

func (p *keyPool) key(bits, number int) (*rsa.PrivateKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	place := keyPlace{bits, number}
	if key := p.keys[place]; key != nil {
		return key, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("making an RSA key of %d bits: %w", bits, err)
	}
	p.keys[place] = key
	return key, nil
}

// jobTokenKey represents the application setting ci_job_token_signing_key, which GitLab does not publish.
func jobTokenKey() (*rsa.PrivateKey, error) { return pool.key(defaultKeyBits, jobTokenPlace) }

func newKeyring(bits int) *keyring { return &keyring{ciBits: bits, ci: ciPlace} }

func (k *keyring) key(which SigningKey) (*rsa.PrivateKey, error) {
	switch which {
	case CIKey:
		k.mu.Lock()
		bits, place := k.ciBits, k.ci
		k.mu.Unlock()
		return pool.key(bits, place)
	case UserLoginKey:
		return pool.key(defaultKeyBits, userLoginPlace)
	case ForeignKey:
		return pool.key(defaultKeyBits, foreignPlace)
	default:
		return nil, fmt.Errorf("unknown signing key %d", which)
	}
}

func (k *keyring) rotate(bits int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ci, k.ciBits = max(k.ci, foreignPlace)+1, bits
}

// RotateSigningKey replaces the CI key by a new one of so many bits. As in GitLab there is no overlap: the key set has
// the new key alone, and earlier ID tokens can no longer be verified.
func (s *Server) RotateSigningKey(bits int) error {
	s.keys.rotate(bits)
	_, err := s.keys.key(CIKey) // made here, so that it is this call that fails and takes long
	return err
}

// PublicKey is the public half of a key.
func (s *Server) PublicKey(which SigningKey) (*rsa.PublicKey, error) {
	key, err := s.keys.key(which)
	if err != nil {
		return nil, err
	}
	return &key.PublicKey, nil
}

// Sign makes a JWT of any payload, also one that GitLab would never sign. The members of header are set in the usual
// header (alg, kid, typ); a nil value removes one. The signature is RS256 whatever the header says.
func (s *Server) Sign(which SigningKey, header map[string]any, payload []byte) (string, error) {
	key, err := s.keys.key(which)
	if err != nil {
		return "", err
	}
	members := map[string]any{"alg": "RS256", "kid": thumbprint(&key.PublicKey), "typ": "JWT"}
	for name, value := range header {
		members[name] = value
		if value == nil {
			delete(members, name)
		}
	}
	encodedHeader, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("encoding the header: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(encodedHeader) + "." + encode(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return signed + "." + encode(signature), nil
}

// jwk is one key of the set (JwksController#pem_to_jwk).
type jwk struct {
	KeyType   string `json:"kty"`
	KeyID     string `json:"kid"`
	Exponent  string `json:"e"`
	Modulus   string `json:"n"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

// keySet is GET /oauth/discovery/keys (app/controllers/jwks_controller.rb): the user-login key first.
func (c *call) keySet() (*response, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	encode := base64.RawURLEncoding.EncodeToString
	for _, which := range []SigningKey{UserLoginKey, CIKey} {
		key, err := c.keys.key(which)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, jwk{
			KeyType: "RSA", KeyID: thumbprint(&key.PublicKey), Use: "sig", Algorithm: "RS256",
			Exponent: encode(big.NewInt(int64(key.E)).Bytes()), Modulus: encode(key.N.Bytes()),
		})
	}
	out := jsonResponse(http.StatusOK, set)
	out.header.Set("Content-Type", "application/json; charset=utf-8")
	out.header.Set("Cache-Control", "max-age=86400, public, must-revalidate, no-transform")
	return out, nil
}

// discovery is GET /.well-known/openid-configuration, as far as it concerns those who verify tokens. Its issuer is the
// instance's URL, even if ID tokens have another.
func (c *call) discovery() (*response, error) {
	out := jsonResponse(http.StatusOK, map[string]any{
		"issuer":                                c.base,
		"authorization_endpoint":                c.base + "/oauth/authorize",
		"token_endpoint":                        c.base + "/oauth/token",
		"userinfo_endpoint":                     c.base + "/oauth/userinfo",
		"jwks_uri":                              c.base + "/oauth/discovery/keys",
		"scopes_supported":                      []string{"api", "read_api", "openid", "profile", "email"},
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"grant_types_supported":                 []string{"authorization_code", "password", "client_credentials", "refresh_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"claim_types_supported":                 []string{"normal"},
		"claims_supported":                      []string{"iss", "sub", "aud", "exp", "iat", "sub_legacy", "name", "email"},
	})
	out.header.Set("Content-Type", "application/json; charset=utf-8")
	return out, nil
}

"""How the keys of services look that an application uses beside Klaviyo: prefix, alphabet, length.

Facts from the vendors' own pages and from what secret scanners know of them. The case of letters matters.
To add one: a clue in Hyperscan's syntax, any case of letters, and the patterns of the whole key.
"""

from __future__ import annotations

#: Clue → patterns of keys that hold it.
VENDOR_KEYS: dict[str, tuple[str, ...]] = {
    "akia": ("AKIA[0-9A-Z]{16}",),  # Amazon: access keys, of users and of sessions
    "asia": ("ASIA[0-9A-Z]{16}",),
    "aiza": (r"AIza[\w-]{35}",),  # Google: API keys, OAuth access and refresh tokens, client secrets
    r"ya29\.": (r"ya29\.[\w.-]{20,}",),
    "1//0": (r"1//0[\w-]{30,}",),
    "gocspx-": (r"GOCSPX-[\w-]{20,}",),
    "8q~": (r"[\w.~-]{3}8Q~[\w.~-]{31,34}",),  # Azure: client secrets
    "github_pat_": (r"github_pat_\w{22,}",),
    "gh[oprsu]_": ("gh[oprsu]_[A-Za-z0-9]{36,}",),
    "gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-|gl(?:c|sa)_": (
        r"gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-[\w.-]{20,}",
        r"glc_[\w=+/]{32,}",
        r"glsa_\w{32,}",
    ),  # GitLab, Grafana
    "xapp-": (r"xapp-[0-9]-[\w-]{20,}",),  # Slack
    "xox[a-z]": (r"xox[a-z](?:\.xox[a-z])?-[\w-]{10,}",),
    r"hooks\.slack\.com": (r"(?<=hooks\.slack\.com/services/)[\w/]{20,}",),
    "sk_(?:live|test|prod)_": (r"sk_(?:live|test|prod)_\w{10,}",),  # Stripe, Clerk
    "rk_(?:live|test)_": (r"rk_(?:live|test)_\w{10,}",),
    "whsec_": ("whsec_[A-Za-z0-9+/]{24,}=*",),
    r"\bsk-": (r"sk-(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[\w-]{20,}",),  # OpenAI, Anthropic
    r"sk\.ey": (r"sk\.eyJ[\w.-]{20,}",),  # Mapbox
    "sk[0-9a-f]{32}": ("SK[0-9a-f]{32}",),  # Twilio
    r"\bsg\.": (r"SG\.[\w-]{16,}\.[\w-]{16,}",),  # SendGrid
    "key-[0-9a-f]{8}": ("key-[0-9a-f]{32}",),  # Mailgun
    "[0-9a-f]-us[0-9]": ("[0-9a-f]{32}-us[0-9]{1,2}",),  # Mailchimp
    "npm_[a-z0-9]{8}": ("npm_[A-Za-z0-9]{36}",),
    "pypi-": (r"pypi-[\w-]{50,}",),
    "rubygems_": ("rubygems_[0-9a-f]{48}",),
    "shp(?:at|ca|pa|ss|tka)_": ("shp(?:at|ca|pa|ss|tka)_[0-9A-Fa-f]{32}",),  # Shopify
    "_v1_": ("do[opr]_v1_[0-9a-f]{64}",),  # DigitalOcean
    "/api/webhooks/": (r"(?<=/api/webhooks/)[0-9]{15,20}/[\w-]{40,}",),  # Discord
    "[0-9]:aa": (r"(?:bot)?[0-9]{8,10}:AA[\w-]{32,34}",),  # Telegram
    "dckr_": (r"dckr_(?:pat|oat)_[\w-]{20,}",),
    "nra[ak]-|[0-9a-f]nral": ("NRA[AK]-[0-9A-Z]{27}", "NRAK-[0-9A-Z]{27}", r"[0-9a-f]{36}NRAL"),  # New Relic
    "lin_": ("lin_(?:api|oauth)_[A-Za-z0-9]{30,}",),  # Linear
    r"hv[brs]\.": (r"hv[brs]\.[\w-]{20,}",),  # HashiCorp Vault
    r"\.atlasv1\.": (r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}",),
    "atatt3": (r"ATATT3[\w=-]{50,}",),  # Atlassian
    "dapi[0-9a-f]{8}": ("dapi[0-9a-f]{32}",),  # Databricks
    r"\bhf_": ("hf_[A-Za-z]{34,}",),
    "sntry": (r"sntry[su]_[\w+/=]{40,}",),  # Sentry
    "sq0": (r"sq0[a-z]{3}-[\w-]{22,}",),  # Square
    "pmak-": ("PMAK-[0-9a-f]{24}-[0-9a-f]{34}",),  # Postman
    "pat-na": ("pat-na[0-9]-[0-9a-f-]{36}",),  # HubSpot
    "pat-eu": ("pat-eu[0-9]-[0-9a-f-]{36}",),
    r"\bdp\.(?:ct|pt|sa|scim|st)\.": (r"dp\.(?:ct|pt|sa|scim|st)\.[\w.-]{40,}",),  # Doppler
    "pscale_": (r"pscale_(?:oauth|pw|tkn)_[\w.-]{32,}",),
    "sbp_": ("sbp_[0-9a-f]{40}",),  # Supabase
    "age-secret-key-": ("AGE-SECRET-KEY-1[0-9A-Z]{58}",),
    "eyj[a-z0-9]": (r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?", r"eyJ[\w-]{16,}(?:\.[\w-]*){4}"),  # JWT, JWE
}

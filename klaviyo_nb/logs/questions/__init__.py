"""Questions on the frames that logs were read into: frame in, frame out.

No question touches disk, net or clock. `counts` groups calls; every other module is one question that
`klaviyo-nb logs --ask NAME` asks.
"""

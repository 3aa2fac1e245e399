"""What an RPC answers instead of a result: Core's error codes."""

MISC_ERROR = -1
TYPE_ERROR = -3
INVALID_ADDRESS_OR_KEY = -5
INVALID_PARAMETER = -8
CLIENT_NOT_CONNECTED = -9
CLIENT_IN_INITIAL_DOWNLOAD = -10
DATABASE_ERROR = -20
DESERIALIZATION_ERROR = -22
CLIENT_NODE_ALREADY_ADDED = -23
CLIENT_NODE_NOT_ADDED = -24
VERIFY_ERROR = -25
VERIFY_REJECTED = -26
VERIFY_ALREADY_IN_UTXO_SET = -27
IN_WARMUP = -28
CLIENT_NODE_NOT_CONNECTED = -29
CLIENT_INVALID_IP_OR_SUBNET = -30
CLIENT_NODE_CAPACITY_REACHED = -34

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603


class RpcError(Exception):
    """A refusal with Core's code and message, as the caller gets it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message
